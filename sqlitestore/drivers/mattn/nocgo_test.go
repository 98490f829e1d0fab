//go:build !cgo

package mattn_test

import (
	"testing"

	"github.com/rollcall-go/rollcall/internal/proctest"
)

func TestDriver(t *testing.T) { proctest.Skip(t, "the driver needs cgo and a C compiler") }
