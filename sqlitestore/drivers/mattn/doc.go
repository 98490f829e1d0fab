// Package mattn tests sqlitestore with github.com/mattn/go-sqlite3, which needs
// cgo and a C compiler. It holds no code but tests.
package mattn
