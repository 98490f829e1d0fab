package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// Harness is a place for records, empty at first, and the way to open it. A harness
// may also be a [Garbler], an [EventGarbler], a [Filler], [Addressed] or a [Server], and
// a handle that it opens a [Putter]. A case that needs what is not there does not apply, which
// it logs; the test itself logs how many do not (go test -v).
type Harness interface {
	// Open returns a handle to the place. All handles share the records. A store
	// in memory may return the same handle each time, because one test always
	// passes the same options. The error matches errors.ErrUnsupported for an
	// option that the store does not have.
	Open(ctx context.Context, options Options) (lifecycle.Registrar, error)
}

// Options are those of the store that [Harness.Open] opens.
type Options struct {
	Owner  string
	Clock  lifecycle.Clock
	OnStop func(context.Context, lifecycle.Event) error
}

// Putter is a handle that can write records exactly as given, which is what the
// cases of [Run] need.
type Putter interface {
	// Put is that of [Subject].
	Put(ctx context.Context, record lifecycle.Record) error
}

// Garbler is a [Harness] that can spoil records behind the store's back.
type Garbler interface {
	// Garblings are the ways to do so.
	Garblings() []Garbling
}

// Garbling is one way to spoil what is stored of a record.
type Garbling struct {
	// Name says how.
	Name string
	// Spoil makes it impossible to decode the record of that name; its Name and its
	// Incarnation remain legible. The test opens a new handle afterwards.
	Spoil func(ctx context.Context, name string) error
	// NoParent says that the Parent does not remain legible either.
	NoParent bool
	// Text is part of what stands there then, which a snapshot is to have.
	Text string
}

// EventGarbler is a [Harness] that can spoil stopped events behind the store's
// back.
type EventGarbler interface {
	// GarbleEvent makes it impossible to decode the snapshot of the event of that
	// name; Name and Incarnation remain legible.
	GarbleEvent(ctx context.Context, name string) error
}

// Filler is a [Harness] that can register many records in less time than one by one.
type Filler interface {
	// Fill writes valid records exactly as given, in order, behind the store's back.
	Fill(ctx context.Context, records []lifecycle.Record) error
}

// Addressed is a [Harness] that other processes can open.
type Addressed interface {
	// Address is what the open function of [RunRegistrar] is given there.
	Address() string
}

// Server is an [Addressed] harness whose records are kept by a server, which may go on
// with what a process had asked for when it was killed.
type Server interface {
	// Settle returns once the server is done with all other processes that have
	// opened the place, and have ended.
	Settle(ctx context.Context) error
}

// registrarTimeout bounds one case of RunRegistrar: some start processes, and some
// register a thousand records.
const registrarTimeout = 5 * time.Minute

// RunRegistrar checks a [lifecycle.Registrar]: each case is a subtest, in parallel,
// on a place of its own.
//
// open returns an empty place if the address is empty, and registers its clean-up
// with t. Where the place is [Addressed] the test binary runs this very test again
// as other processes, in which open is given the address: it must then open what is
// there, and leave it there. The processes end with the test, or with its process.
//
// The cases of [RunKV] run on the gate, and those of [Run], each call through
// another handle, if a handle is a [Putter].
func RunRegistrar(t *testing.T, open func(t *testing.T, address string) Harness) {
	t.Helper()
	playPart(t, open)
	var missing atomic.Int64
	t.Cleanup(func() {
		if n := missing.Load(); n > 0 {
			t.Logf("%d cases do not apply", n)
		}
	})
	run := func(name string, run func(ctx context.Context, h Harness) error) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, "")
			err := check(t.Context(), registrarTimeout, func(ctx context.Context) error { return run(ctx, h) })
			if errors.Is(err, errNotApplicable) {
				missing.Add(1)
				t.Log(err)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	for _, test := range registrarCases {
		run(test.name, test.run)
	}
	for _, test := range processCases {
		run(test.name, func(ctx context.Context, h Harness) error { return test.run(ctx, h, processes{t.Name(), test.name}) })
	}
	for _, test := range cases {
		run(test.name, func(ctx context.Context, h Harness) error {
			s, err := subjectOf(ctx, h)
			if err != nil {
				return err
			}
			return test.run(ctx, s)
		})
	}
	for _, test := range kvCases {
		run("as a gate "+test.name, func(ctx context.Context, h Harness) error {
			store, err := openTwo(ctx, h, Options{})
			if err != nil {
				return err
			}
			gates := [2]lifecycle.KV{store[0].Gate(), store[1].Gate()}
			if gates[0] == nil || gates[1] == nil {
				return errors.New("Gate returns nil")
			}
			return test.run(ctx, &alternatingKV{handles: gates})
		})
	}
}

// errNotApplicable is the error of a case that asks for an ability or an option
// that the store does not have.
var errNotApplicable = errors.New("not applicable")

// owner is that of the stores of all cases: a store may ask for one.
const owner = "this machine"

// openOne opens a handle, with the owner.
func openOne(ctx context.Context, h Harness, options Options) (lifecycle.Registrar, error) {
	options.Owner = owner
	store, err := h.Open(ctx, options)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, fmt.Errorf("%w: %w", errNotApplicable, err)
	}
	if err != nil {
		return nil, fmt.Errorf("Open: %w", err)
	}
	return store, nil
}

// openTwo opens two handles, as two processes would.
func openTwo(ctx context.Context, h Harness, options Options) (stores [2]lifecycle.Registrar, err error) {
	for i := range stores {
		if stores[i], err = openOne(ctx, h, options); err != nil {
			return stores, err
		}
	}
	return stores, nil
}

// registrarCases are those for one process. Each is about the promise of a method
// of lifecycle.Registrar, or about several handles.
var registrarCases = []struct {
	name string
	run  func(context.Context, Harness) error
}{
	{"fills in what Launch leaves to it", fillsIn},
	{"keeps what Launch is given", keepsGiven},
	{"keeps the owner of a record or refuses it", keepsOwner},
	{"refuses to launch what cannot be registered", refusesLaunch},
	{"follows a record through its phases", followsPhases},
	{"lets an earlier incarnation write nothing", refusesEarlier},
	{"refuses an identity without text", refusesIdentity},
	{"binds a key to one record at a time", bindsOnce},
	{"says what is not there", saysWhatIsMissing},
	{"gives Data back as it was, but for space", keepsData},
	{"gives Data back from as deep as it takes it", keepsDeepData},
	{"sets Data and nothing else", setsData},
	{"refuses to set what is no Data", refusesData},
	{"stops what had its Data set since it was read", stopsWithNewData},
	{"keeps records and events in order, page by page", keepsOrder},
	{"has the snapshot of the newest stop", hasNewestSnapshot},
	{"tells when there is something to watch", countsRegistrations},
	{"does nothing when cancelled, whatever the method", doesNothingCancelled},
	{"is resumed from a snapshot after a reboot", resumes},
	{"stops a family with its head", stopsFamilies},
	{"shows the hook each event", showsHook},
	{"undoes what the hook refuses", undoesRefused},
	{"stops a batch up to what the hook refuses", stopsBatchUpToRefused},
	{"cleans all but what the hook refuses", cleansAllButRefused},
	{"spares a name that was registered again since it was read", sparesRegisteredAgain},
	{"spares a record that came to life since it was read", sparesRevived},
	{"stops each record once through many handles", stopsOnceThroughHandles},
	{"names a garbled record and keeps it", namesGarbled},
	{"cleans around garbled records", cleansAroundGarbled},
	{"stops a garbled record on request", stopsGarbled},
	{"keeps the parent of a garbled record", keepsParentOfGarbled},
	{"names a garbled event", namesGarbledEvent},
}
