//go:build !linux

package liveness_test

import (
	"testing"

	"github.com/rollcall-go/rollcall/internal/proctest"
)

func TestMain(m *testing.M) {
	roles := map[string]func([]string){
		"exit259":    exit259Role,
		"spawn":      spawnRole,
		"spawn-loud": spawnLoudRole,
		"unset":      unsetRole,
	}
	addRoles(roles)
	proctest.Main(m, roles)
}
