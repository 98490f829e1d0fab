// Package modernc tests sqlitestore with modernc.org/sqlite, as the packages
// beside it do with other drivers. It holds no code but tests.
package modernc
