// Package drivers tests sqlitestore with a driver other than that of its own
// tests, and on a disk that fails or loses its power at any operation. It holds
// no code but tests.
package drivers
