package storekit

import (
	"strings"
	"sync"
)

// Statements puts the names of a store's tables into its SQL. It does so once for
// each statement, so that a statement can stand beside the function that runs it.
// It is safe for concurrent use.
type Statements struct {
	written, actual string
	texts           sync.Map // by the statement as it is written
}

// NewStatements returns the Statements of a store. Where a statement says written,
// such as "rollcall_", the server is to read actual.
func NewStatements(written, actual string) *Statements {
	return &Statements{written: written, actual: actual}
}

// Text returns the statement for the server. It keeps every statement that it was
// ever given: values belong into arguments.
func (s *Statements) Text(statement string) string {
	if text, ok := s.texts.Load(statement); ok {
		return text.(string)
	}
	text := strings.ReplaceAll(statement, s.written, s.actual)
	s.texts.Store(statement, text)
	return text
}
