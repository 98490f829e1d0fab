package postgresstore_test

import (
	"context"
	"encoding/json"
	"testing"

	qt "github.com/frankban/quicktest"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/storetest"
	"github.com/rollcall-go/rollcall/postgresstore"
)

const thisMachine = "this machine"

// harness is a set of tables.
type harness struct{ database }

var (
	_ storetest.Addressed    = harness{}
	_ storetest.Server       = harness{}
	_ storetest.Garbler      = harness{}
	_ storetest.EventGarbler = harness{}
	_ storetest.Putter       = (*postgresstore.Store)(nil)
)

// address is where another process finds the tables.
type address struct{ URL, Schema, Prefix string }

func newHarness(t *testing.T, text string) storetest.Harness {
	c := qt.New(t)
	if text == "" {
		d := newDatabase(t)
		t.Cleanup(func() { // no binding has outlived its record
			var left int
			c.Check(d.QueryRow(context.Background(), d.q(`SELECT count(*) FROM rollcall_bindings WHERE record NOT IN (SELECT seq FROM rollcall_records)`)).Scan(&left), qt.IsNil)
			c.Check(left, qt.Equals, 0)
		})
		return harness{d}
	}
	var at address
	c.Assert(json.Unmarshal([]byte(text), &at), qt.IsNil)
	config, err := pgxpool.ParseConfig(at.URL)
	c.Assert(err, qt.IsNil)
	config.ConnConfig.RuntimeParams["search_path"] = pgx.Identifier{at.Schema}.Sanitize()
	d := database{prefix: at.Prefix, schema: at.Schema}
	config.ConnConfig.RuntimeParams["application_name"] = d.mark() // see Settle
	d.Pool = openConfig(t, config)
	return harness{d}
}

func (h harness) Address() string {
	url, err := serverURL()
	if err != nil {
		panic(err) // newDatabase has asked for it
	}
	text, err := json.Marshal(address{url, h.schema, h.prefix})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// Settle waits for the sessions of other processes, which newHarness has named.
func (h harness) Settle(ctx context.Context) error {
	for left := -1; left != 0; {
		err := h.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE application_name = $1`, h.mark()).Scan(&left)
		if err != nil {
			return err
		}
	}
	return nil
}

func (h harness) Open(ctx context.Context, options storetest.Options) (lifecycle.Registrar, error) {
	all := postgresstore.Options{Prefix: h.prefix, Owner: options.Owner, Clock: options.Clock}
	if options.OnStop != nil {
		all.OnStop = func(ctx context.Context, _ pgx.Tx, event lifecycle.Event) error { return options.OnStop(ctx, event) }
	}
	return postgresstore.New(ctx, h.Pool, all)
}

func (h harness) Garblings() (all []storetest.Garbling) {
	for _, way := range garbled {
		all = append(all, storetest.Garbling{Name: way.name, Text: way.text, Spoil: func(ctx context.Context, name string) error {
			_, err := h.Exec(ctx, h.q(`UPDATE rollcall_records SET `+way.set+` WHERE name = $1`), name)
			return err
		}})
	}
	return all
}

func (h harness) GarbleEvent(ctx context.Context, name string) error {
	_, err := h.Exec(ctx, h.q(`UPDATE rollcall_events SET snapshot = '[]' WHERE name = $1`), name)
	return err
}

func TestStoreKeepsTheRulesOfItsInterface(t *testing.T) {
	t.Parallel()
	storetest.RunRegistrar(t, newHarness)
}
