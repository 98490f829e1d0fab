// Package drivers tests sqlitestore with github.com/ncruces/go-sqlite3, also on a
// disk that fails or loses its power at any operation. The packages below it test
// other drivers. It holds no code but tests.
package drivers
