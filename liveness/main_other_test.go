//go:build !linux

package liveness_test

import (
	"testing"

	"github.com/rollcall-go/rollcall/internal/proctest"
)

func TestMain(m *testing.M) {
	proctest.Main(m, map[string]func([]string){"exit259": exit259Role, "unset": unsetRole})
}
