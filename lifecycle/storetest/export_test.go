package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// Check runs the case of that name, within a timeout of the caller's choice.
func Check(ctx context.Context, name string, timeout time.Duration, s Subject) error {
	for _, test := range cases {
		if test.name == name {
			return check(ctx, timeout, func(ctx context.Context) error { return test.run(ctx, s) })
		}
	}
	panic("no case " + name)
}

// CheckKV does the same for a KV.
func CheckKV(ctx context.Context, name string, timeout time.Duration, kv lifecycle.KV) error {
	for _, test := range kvCases {
		if test.name == name {
			return check(ctx, timeout, func(ctx context.Context) error { return test.run(ctx, kv) })
		}
	}
	panic("no case " + name)
}

// CheckRegistrar does the same for a Registrar, in the test that open is given.
func CheckRegistrar(t *testing.T, name string, timeout time.Duration, open func(t *testing.T, address string) Harness) error {
	playPart(t, open)
	for _, test := range registrarCases {
		if test.name == name {
			return check(t.Context(), timeout, func(ctx context.Context) error { return test.run(ctx, open(t, "")) })
		}
	}
	for _, test := range processCases {
		if test.name == name {
			return check(t.Context(), timeout, func(ctx context.Context) error { return test.run(ctx, open(t, ""), processes{t.Name(), name}) })
		}
	}
	panic("no case " + name)
}

var ErrNotApplicable = errNotApplicable

// Names lists the cases of Run and of RunKV.
func Names() (names []string) {
	for _, test := range cases {
		names = append(names, test.name)
	}
	for _, test := range kvCases {
		names = append(names, test.name)
	}
	return names
}

// RegistrarNames lists those of RunRegistrar that are not of the other two.
func RegistrarNames() (names []string) {
	for _, test := range registrarCases {
		names = append(names, test.name)
	}
	for _, test := range processCases {
		names = append(names, test.name)
	}
	return names
}
