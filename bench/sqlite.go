package main

import (
	"context"
	"database/sql"
	"errors"

	"github.com/rollcall-go/rollcall/sqlitestore"
)

// openDB opens a file as a host does, with the driver that this program was built
// with.
func openDB(path string) (*sql.DB, error) {
	return sql.Open(driverName, "file:"+path+"?"+inWAL)
}

// openStore opens a file, and the store in it.
func openStore(ctx context.Context, path string) (*sql.DB, *sqlitestore.Store, error) {
	db, err := openDB(path)
	if err != nil {
		return nil, nil, err
	}
	store, err := sqlitestore.New(ctx, db, sqlitestore.Options{})
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, store, nil
}
