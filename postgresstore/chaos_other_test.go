//go:build !unix

package postgresstore_test

// The server of these tests is started on Unix alone.
func (m *machine) stop()   {}
func (m *machine) dump()   {}
func (m *machine) resume() {}
