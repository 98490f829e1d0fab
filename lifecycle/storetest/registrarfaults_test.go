package storetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/lifecycle/storetest"
	"github.com/rollcall-go/rollcall/liveness"
)

// The names of the cases of RunRegistrar.
const (
	fillsIn      = "fills in what Launch leaves to it"
	given        = "keeps what Launch is given"
	ofOwner      = "keeps the owner of a record or refuses it"
	launches     = "refuses to launch what cannot be registered"
	phases       = "follows a record through its phases"
	earlier      = "lets an earlier incarnation write nothing"
	identities   = "refuses an identity without text"
	keys         = "binds a key to one record at a time"
	missing      = "says what is not there"
	data         = "gives Data back as it was, but for space"
	deepData     = "gives Data back from as deep as it takes it"
	dataSet      = "sets Data and nothing else"
	dataRefused  = "refuses to set what is no Data"
	dataStopped  = "stops what had its Data set since it was read"
	order        = "keeps records and events in order, page by page"
	newest       = "has the snapshot of the newest stop"
	watched      = "tells when there is something to watch"
	cancelledAll = "does nothing when cancelled, whatever the method"
	resumed      = "is resumed from a snapshot after a reboot"
	heads        = "stops a family with its head"
	hookShown    = "shows the hook each event"
	hookUndoes   = "undoes what the hook refuses"
	hookBatch    = "stops a batch up to what the hook refuses"
	hookPass     = "cleans all but what the hook refuses"
	namesake     = "spares a name that was registered again since it was read"
	revived      = "spares a record that came to life since it was read"
	handles      = "stops each record once through many handles"
	garbledNamed = "names a garbled record and keeps it"
	garbledPass  = "cleans around garbled records"
	garbledStop  = "stops a garbled record on request"
	garbledChild = "keeps the parent of a garbled record"
	garbledEvent = "names a garbled event"
	processNames = "registers each name once among many processes"
	processPass  = "stops each record once among many processes"
	processGate  = "is cleaned by one of many processes after a reboot"
	processKills = "keeps what it has said when processes are killed"
)

type registrarFault struct {
	name     string
	caughtBy string
	fault    func(*broken)
	options  func(*storetest.Options) // what it makes of them
}

var errOther = errors.New("something else")

// editLaunch changes a record on its way into Launch, and on its way out.
func editLaunch(in, out func(*lifecycle.Record)) func(*broken) {
	return func(b *broken) {
		b.launch = func(ctx context.Context, r lifecycle.Record) (lifecycle.Record, error) {
			if in != nil {
				in(&r)
			}
			r, err := b.Registrar.Launch(ctx, r)
			if out != nil && err == nil {
				out(&r)
			}
			return r, err
		}
	}
}

// editSnapshot changes what Snapshot returns.
func editSnapshot(edit func(*lifecycle.Snapshot)) func(*broken) {
	return func(b *broken) {
		b.snapshot = func(ctx context.Context, name string) (lifecycle.Snapshot, error) {
			s, err := b.Registrar.Snapshot(ctx, name)
			edit(&s)
			return s, err
		}
	}
}

// otherError says something else where an error matches one.
func otherError(err, target error) error {
	if errors.Is(err, target) {
		return errOther
	}
	return err
}

// ofName returns the record that has the name now, to write about that.
func (b *broken) ofName(r lifecycle.Record) lifecycle.Record {
	if stored, err := b.Registrar.Record(context.Background(), r.Name); err == nil {
		return stored
	}
	return r
}

var registrarFaults = []registrarFault{
	{"makes an incarnation that is no UUID", fillsIn, editLaunch(func(r *lifecycle.Record) { r.Incarnation = "1" }, nil), nil},
	{"does not know its owner", fillsIn, func(b *broken) { b.owner = func() string { return "" } }, nil},
	{"registers for nobody", fillsIn, editLaunch(nil, func(r *lifecycle.Record) { r.Owner = "" }), nil},
	{"launches what is inactive", fillsIn, editLaunch(nil, func(r *lifecycle.Record) { r.Phase = lifecycle.Inactive }), nil},
	{"launches with a process", fillsIn, editLaunch(nil, func(r *lifecycle.Record) { r.Identity.PID = 1 }), nil},
	{"refuses what says that it launches", fillsIn, func(b *broken) {
		b.launch = func(ctx context.Context, r lifecycle.Record) (lifecycle.Record, error) {
			if r.Phase == lifecycle.Launching {
				return lifecycle.Record{}, lifecycle.ErrInvalidRecord
			}
			return b.Registrar.Launch(ctx, r)
		}
	}, nil},
	{"launches without a time", fillsIn, editLaunch(nil, func(r *lifecycle.Record) { r.CreatedAt = time.Time{} }), nil},
	{"beats by another clock", fillsIn, nil, func(o *storetest.Options) { o.Clock = nil }},
	{"returns what it does not store", fillsIn, editLaunch(nil, func(r *lifecycle.Record) { r.CreatedAt = r.CreatedAt.Add(1) }), nil},
	{"makes an incarnation where it has one", given, editLaunch(func(r *lifecycle.Record) { r.Incarnation = "" }, nil), nil},
	{"cuts nanoseconds", given, editLaunch(func(r *lifecycle.Record) { r.CreatedAt = r.CreatedAt.Truncate(time.Microsecond) }, nil), nil},
	{"loses the parent", given, editLaunch(func(r *lifecycle.Record) { r.Parent = "" }, nil), nil},
	{"takes the record of another for its own", ofOwner, editLaunch(func(r *lifecycle.Record) { r.Owner = "" }, nil), nil},
	{"registers what it refuses", ofOwner, func(b *broken) {
		b.launch = func(ctx context.Context, r lifecycle.Record) (lifecycle.Record, error) {
			r, err := b.Registrar.Launch(ctx, r)
			if r.Owner == "elsewhere" {
				return lifecycle.Record{}, errOther
			}
			return r, err
		}
	}, nil},

	{"calls a name that is taken invalid", launches, func(b *broken) {
		b.launch = func(ctx context.Context, r lifecycle.Record) (lifecycle.Record, error) {
			r, err := b.Registrar.Launch(ctx, r)
			return r, otherError(err, lifecycle.ErrNameTaken)
		}
	}, nil},
	{"launches in the place of whatever has the name", launches, func(b *broken) {
		b.launch = func(ctx context.Context, r lifecycle.Record) (lifecycle.Record, error) {
			_, _ = b.Registrar.Stop(ctx, b.ofName(r), lifecycle.Cause{})
			r.Incarnation = ""
			return b.Registrar.Launch(ctx, r)
		}
	}, nil},
	{"brings a stopped incarnation back", launches, func(b *broken) {
		b.launch = func(ctx context.Context, r lifecycle.Record) (lifecycle.Record, error) {
			if launched, err := b.Registrar.Launch(ctx, r); !errors.Is(err, lifecycle.ErrInvalidRecord) {
				return launched, err
			}
			r.Incarnation = ""
			return b.Registrar.Launch(ctx, r)
		}
	}, nil},
	{"takes Data of no bytes for none", launches, editLaunch(func(r *lifecycle.Record) {
		if len(r.Data) == 0 {
			r.Data = nil
		}
	}, nil), nil},
	{"drops the phase that it is given", launches, editLaunch(func(r *lifecycle.Record) { r.Phase = lifecycle.Running }, nil), nil},
	{"drops a phase that does not exist", launches, editLaunch(func(r *lifecycle.Record) {
		if r.Phase > lifecycle.Inactive {
			r.Phase = lifecycle.Running
		}
	}, nil), nil},
	{"drops the identity that it is given", launches, editLaunch(func(r *lifecycle.Record) { r.Identity = liveness.Identity{} }, nil), nil},
	{"drops the identity of what launches", launches, editLaunch(func(r *lifecycle.Record) {
		if r.Phase == lifecycle.Launching {
			r.Identity = liveness.Identity{}
		}
	}, nil), nil},
	{"returns the record that it refuses", launches, func(b *broken) {
		b.launch = func(ctx context.Context, r lifecycle.Record) (lifecycle.Record, error) {
			launched, err := b.Registrar.Launch(ctx, r)
			if err != nil {
				return r, err
			}
			return launched, nil
		}
	}, nil},

	{"lets the process of what is deactivated stand", phases, func(b *broken) {
		b.deactivate = func(ctx context.Context, r lifecycle.Record) error {
			stored := b.ofName(r)
			err := b.Registrar.Deactivate(ctx, r)
			now := b.ofName(r)
			now.Identity = stored.Identity
			return errors.Join(err, b.put(ctx, now))
		}
	}, nil},
	{"activates without a heartbeat", phases, func(b *broken) {
		b.activate = func(ctx context.Context, r lifecycle.Record, id liveness.Identity) error {
			stored := b.ofName(r)
			err := b.Registrar.Activate(ctx, r, id)
			now := b.ofName(r)
			now.Heartbeat = stored.Heartbeat
			return errors.Join(err, b.put(ctx, now))
		}
	}, nil},
	{"loses Data when it activates", phases, func(b *broken) {
		b.activate = func(ctx context.Context, r lifecycle.Record, id liveness.Identity) error {
			err := b.Registrar.Activate(ctx, r, id)
			now := b.ofName(r)
			now.Data = nil
			return errors.Join(err, b.put(ctx, now))
		}
	}, nil},
	{"takes a heartbeat for a start", phases, func(b *broken) {
		b.heartbeat = func(ctx context.Context, r lifecycle.Record) error {
			return b.Registrar.Activate(ctx, r, b.ofName(r).Identity)
		}
	}, nil},
	{"does not beat", phases, func(b *broken) { b.heartbeat = func(context.Context, lifecycle.Record) error { return nil } }, nil},

	{"beats for whatever has the name", earlier, func(b *broken) {
		b.heartbeat = func(ctx context.Context, r lifecycle.Record) error { return b.Registrar.Heartbeat(ctx, b.ofName(r)) }
	}, nil},
	{"sets Data of a later incarnation", earlier, func(b *broken) {
		b.setData = func(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
			return b.Registrar.SetData(ctx, b.ofName(r), data)
		}
	}, nil},
	{"binds to whatever has the name", earlier, func(b *broken) {
		b.bind = func(ctx context.Context, r lifecycle.Record, key string) error {
			return b.Registrar.Bind(ctx, b.ofName(r), key)
		}
	}, nil},
	{"activates whatever has the name and says that it did not", earlier, func(b *broken) {
		b.activate = func(ctx context.Context, r lifecycle.Record, id liveness.Identity) error {
			err := b.Registrar.Activate(ctx, r, id)
			_ = b.Registrar.Activate(ctx, b.ofName(r), id)
			return err
		}
	}, nil},
	{"deactivates what is gone", earlier, func(b *broken) {
		b.deactivate = func(ctx context.Context, r lifecycle.Record) error {
			if err := b.Registrar.Deactivate(ctx, r); !errors.Is(err, lifecycle.ErrNotRegistered) {
				return err
			}
			return nil
		}
	}, nil},
	{"takes any identity", identities, func(b *broken) {
		b.activate = func(ctx context.Context, r lifecycle.Record, id liveness.Identity) error {
			id.PID = max(id.PID, 0)
			return b.Registrar.Activate(ctx, r, id)
		}
	}, nil},
	{"says nothing of what is wrong with an identity", identities, func(b *broken) {
		b.activate = func(ctx context.Context, r lifecycle.Record, id liveness.Identity) error {
			return otherError(b.Registrar.Activate(ctx, r, id), liveness.ErrInvalid)
		}
	}, nil},
	{"deactivates where the identity is invalid", identities, func(b *broken) {
		b.activate = func(ctx context.Context, r lifecycle.Record, id liveness.Identity) error {
			err := b.Registrar.Activate(ctx, r, id)
			if err != nil {
				_ = b.Registrar.Deactivate(ctx, r)
			}
			return err
		}
	}, nil},

	{"leaves a key with its first record", keys, func(b *broken) {
		b.bind = func(ctx context.Context, r lifecycle.Record, key string) error {
			if _, err := b.Registrar.Bound(ctx, key); err == nil {
				return nil
			}
			return b.Registrar.Bind(ctx, r, key)
		}
	}, nil},
	{"leaves a key that moved in a snapshot", keys, editSnapshot(func(s *lifecycle.Snapshot) {
		if s.Name == "first" {
			s.Bindings = append([]string{"session"}, s.Bindings...)
		}
	}), nil},
	{"lists a key twice", keys, editSnapshot(func(s *lifecycle.Snapshot) { s.Bindings = append(s.Bindings, s.Bindings...) }), nil},
	{"binds any key", keys, func(b *broken) {
		b.bind = func(ctx context.Context, r lifecycle.Record, key string) error {
			return b.Registrar.Bind(ctx, r, strings.ToValidUTF8(key, "?"))
		}
	}, nil},
	{"gives a key back to its earlier record", keys, func(b *broken) {
		b.bound = func(ctx context.Context, key string) (lifecycle.Record, error) {
			r, err := b.Registrar.Bound(ctx, key)
			if first, firstErr := b.Registrar.Record(ctx, "first"); err != nil && key == "session" && firstErr == nil {
				return first, nil
			}
			return r, err
		}
	}, nil},

	{"has another error for a name that nobody has", missing, func(b *broken) {
		b.record = func(ctx context.Context, name string) (lifecycle.Record, error) {
			r, err := b.Registrar.Record(ctx, name)
			return r, otherError(err, lifecycle.ErrNotRegistered)
		}
	}, nil},
	{"has another error for a key that nobody has", missing, func(b *broken) {
		b.bound = func(ctx context.Context, key string) (lifecycle.Record, error) {
			r, err := b.Registrar.Bound(ctx, key)
			return r, otherError(err, lifecycle.ErrNotRegistered)
		}
	}, nil},
	{"has another error for a name that was not stopped", missing, func(b *broken) {
		b.snapshot = func(ctx context.Context, name string) (lifecycle.Snapshot, error) {
			s, err := b.Registrar.Snapshot(ctx, name)
			return s, otherError(err, lifecycle.ErrNoSnapshot)
		}
	}, nil},
	{"folds the case of names", missing, func(b *broken) {
		b.record = func(ctx context.Context, name string) (lifecycle.Record, error) {
			return b.Registrar.Record(ctx, strings.ToLower(name))
		}
	}, nil},
	{"fails for a name that nobody can have", missing, func(b *broken) {
		b.snapshot = func(ctx context.Context, name string) (lifecycle.Snapshot, error) {
			if strings.Contains(name, "\x00") {
				return lifecycle.Snapshot{}, errOther
			}
			return b.Registrar.Snapshot(ctx, name)
		}
	}, nil},

	{"reads Data and writes it again", data, editLaunch(func(r *lifecycle.Record) {
		var value any
		if json.Unmarshal(r.Data, &value) == nil {
			r.Data, _ = json.Marshal(value)
		}
	}, nil), nil},
	{"takes all space out of Data", data, editLaunch(func(r *lifecycle.Record) {
		r.Data = bytes.ReplaceAll(r.Data, []byte(" "), nil)
	}, nil), nil},
	{"escapes Data in snapshots", data, editSnapshot(func(s *lifecycle.Snapshot) {
		if escaped, err := json.Marshal(s.Data); err == nil && s.Data != nil {
			s.Data = escaped
		}
	}), nil},
	{"makes null of no Data", data, editSnapshot(func(s *lifecycle.Snapshot) {
		if s.Data == nil {
			s.Data = json.RawMessage("null")
		}
	}), nil},
	{"hands out its own memory", data, func(b *broken) {
		shared := map[string]json.RawMessage{}
		b.record = func(ctx context.Context, name string) (lifecycle.Record, error) {
			r, err := b.Registrar.Record(ctx, name)
			if shared[name] == nil {
				shared[name] = r.Data
			}
			r.Data = shared[name]
			return r, err
		}
	}, nil},

	{"takes no Data of a thousand levels", deepData, func(b *broken) {
		b.launch = func(ctx context.Context, r lifecycle.Record) (lifecycle.Record, error) {
			if len(r.Data) >= 2000 {
				return lifecycle.Record{}, lifecycle.ErrInvalidRecord
			}
			return b.Registrar.Launch(ctx, r)
		}
	}, nil},
	{"launches without Data that is too deep", deepData, func(b *broken) {
		b.launch = func(ctx context.Context, r lifecycle.Record) (lifecycle.Record, error) {
			launched, err := b.Registrar.Launch(ctx, r)
			if errors.Is(err, lifecycle.ErrInvalidRecord) {
				r.Data = nil
				return b.Registrar.Launch(ctx, r)
			}
			return launched, err
		}
	}, nil},
	{"launches without Data that is too deep and says that it did not", deepData, func(b *broken) {
		b.launch = func(ctx context.Context, r lifecycle.Record) (lifecycle.Record, error) {
			launched, err := b.Registrar.Launch(ctx, r)
			if errors.Is(err, lifecycle.ErrInvalidRecord) {
				r.Data = nil
				_, _ = b.Registrar.Launch(ctx, r)
			}
			return launched, err
		}
	}, nil},
	{"has no deep Data in a list", deepData, func(b *broken) {
		b.records = func(ctx context.Context) ([]lifecycle.Record, error) {
			all, err := b.Registrar.Records(ctx)
			for i := range all {
				all[i].Data = nil
			}
			return all, err
		}
	}, nil},
	{"has no deep Data in a record", deepData, func(b *broken) {
		b.record = func(ctx context.Context, name string) (lifecycle.Record, error) {
			r, err := b.Registrar.Record(ctx, name)
			r.Data = nil
			return r, err
		}
	}, nil},
	{"cannot decode deep snapshots", deepData, func(b *broken) {
		b.snapshot = func(ctx context.Context, name string) (lifecycle.Snapshot, error) {
			return lifecycle.Snapshot{}, lifecycle.ErrInvalidRecord
		}
	}, nil},
	{"has no deep snapshots in events", deepData, func(b *broken) {
		b.events = func(ctx context.Context, after int64) ([]lifecycle.Event, error) {
			all, err := b.Registrar.Events(ctx, after)
			for i := range all {
				all[i].Snapshot = lifecycle.Snapshot{}
			}
			return all, err
		}
	}, nil},

	{"sets Data of any depth", deepData, func(b *broken) {
		b.setData = func(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
			if err := b.Registrar.SetData(ctx, r, data); !errors.Is(err, lifecycle.ErrInvalidRecord) {
				return err
			}
			return nil
		}
	}, nil},
	{"sets no Data of a thousand levels", deepData, func(b *broken) {
		b.setData = func(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
			if len(data) >= 2000 {
				return lifecycle.ErrInvalidRecord
			}
			return b.Registrar.SetData(ctx, r, data)
		}
	}, nil},

	{"does not set Data", dataSet, func(b *broken) {
		b.setData = func(context.Context, lifecycle.Record, json.RawMessage) error { return nil }
	}, nil},
	{"sets Data once", dataSet, func(b *broken) {
		b.setData = func(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
			if b.ofName(r).Data != nil {
				return nil
			}
			return b.Registrar.SetData(ctx, r, data)
		}
	}, nil},
	{"does not remove Data", dataSet, func(b *broken) {
		b.setData = func(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
			if data == nil {
				return nil
			}
			return b.Registrar.SetData(ctx, r, data)
		}
	}, nil},
	{"sets null for none", dataSet, func(b *broken) {
		b.setData = func(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
			if data == nil {
				data = json.RawMessage("null")
			}
			return b.Registrar.SetData(ctx, r, data)
		}
	}, nil},
	{"sets none for null", dataSet, func(b *broken) {
		b.setData = func(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
			if string(data) == "null" {
				data = nil
			}
			return b.Registrar.SetData(ctx, r, data)
		}
	}, nil},
	{"reads Data that it sets and writes it again", dataSet, func(b *broken) {
		b.setData = func(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
			var value any
			if json.Unmarshal(data, &value) == nil && value != nil {
				data, _ = json.Marshal(value)
			}
			return b.Registrar.SetData(ctx, r, data)
		}
	}, nil},
	{"takes Data for a sign of life", dataSet, func(b *broken) {
		b.setData = func(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
			return errors.Join(b.Registrar.SetData(ctx, r, data), b.Registrar.Heartbeat(ctx, r))
		}
	}, nil},
	{"takes Data for a start", dataSet, func(b *broken) {
		b.setData = func(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
			now := b.ofName(r)
			now.Data, now.Phase = data, lifecycle.Running
			return b.put(ctx, now)
		}
	}, nil},
	{"sets the record as it was launched", dataSet, func(b *broken) {
		b.setData = func(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
			r.Data = data
			return b.put(ctx, r)
		}
	}, nil},
	{"sets the Data of all", dataSet, func(b *broken) {
		b.setData = func(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
			all, err := b.Registrar.Records(ctx)
			for _, r := range all {
				err = errors.Join(err, b.Registrar.SetData(ctx, r, data))
			}
			return err
		}
	}, nil},
	{"keeps the memory that it is given", dataSet, func(b *broken) {
		given := map[string]json.RawMessage{}
		b.setData = func(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
			given[r.Name] = data
			return b.Registrar.SetData(ctx, r, data)
		}
		b.record = func(ctx context.Context, name string) (lifecycle.Record, error) {
			r, err := b.Registrar.Record(ctx, name)
			if data, ok := given[name]; ok {
				r.Data = bytes.Clone(data)
			}
			return r, err
		}
	}, nil},
	{"hands out the Data that was set", dataSet, func(b *broken) {
		held := map[string]json.RawMessage{}
		b.setData = func(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
			held[r.Name] = bytes.Clone(data)
			return b.Registrar.SetData(ctx, r, data)
		}
		b.record = func(ctx context.Context, name string) (lifecycle.Record, error) {
			r, err := b.Registrar.Record(ctx, name)
			if data, ok := held[name]; ok {
				r.Data = data
			}
			return r, err
		}
	}, nil},
	{"loses keys when it sets Data", dataSet, func(b *broken) {
		set := false
		b.setData = func(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
			set = true
			return b.Registrar.SetData(ctx, r, data)
		}
		b.bound = func(ctx context.Context, key string) (lifecycle.Record, error) {
			if set {
				return lifecycle.Record{}, lifecycle.ErrNotRegistered
			}
			return b.Registrar.Bound(ctx, key)
		}
	}, nil},

	{"sets whatever it is given", dataRefused, func(b *broken) {
		b.setData = func(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
			if err := b.Registrar.SetData(ctx, r, data); !errors.Is(err, lifecycle.ErrInvalidRecord) {
				return err
			}
			return nil
		}
	}, nil},
	{"sets none for no bytes", dataRefused, func(b *broken) {
		b.setData = func(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
			if len(data) == 0 {
				data = nil
			}
			return b.Registrar.SetData(ctx, r, data)
		}
	}, nil},
	{"has another error for what is no Data", dataRefused, func(b *broken) {
		b.setData = func(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
			return otherError(b.Registrar.SetData(ctx, r, data), lifecycle.ErrInvalidRecord)
		}
	}, nil},
	{"removes Data where it refuses other", dataRefused, func(b *broken) {
		b.setData = func(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
			err := b.Registrar.SetData(ctx, r, data)
			if errors.Is(err, lifecycle.ErrInvalidRecord) {
				_ = b.Registrar.SetData(ctx, r, nil)
			}
			return err
		}
	}, nil},
	{"calls a record without a name invalid", dataRefused, func(b *broken) {
		b.setData = func(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
			r.Data = data
			if err := r.Validate(); err != nil {
				return err
			}
			return b.Registrar.SetData(ctx, r, data)
		}
	}, nil},
	{"sets Data of whatever has the name", dataRefused, func(b *broken) {
		b.setData = func(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
			return b.Registrar.SetData(ctx, b.ofName(r), data)
		}
	}, nil},

	{"spares what has other Data", dataStopped, func(b *broken) {
		b.stopBatch = func(ctx context.Context, stops []lifecycle.Stop) (int, error) {
			for i, s := range stops {
				if string(b.ofName(s.Record).Data) != string(s.Record.Data) {
					return i, lifecycle.ErrChanged
				}
			}
			return b.Registrar.(lifecycle.BatchStopper).StopBatch(ctx, stops)
		}
	}, nil},
	{"snapshots the Data that was read", dataStopped, func(b *broken) {
		b.stopBatch = func(ctx context.Context, stops []lifecycle.Stop) (int, error) {
			for _, s := range stops {
				_ = b.Registrar.SetData(ctx, s.Record, s.Record.Data)
			}
			return b.Registrar.(lifecycle.BatchStopper).StopBatch(ctx, stops)
		}
	}, nil},
	{"snapshots the Data of the launch", dataStopped, func(b *broken) {
		b.snapshot = func(ctx context.Context, name string) (lifecycle.Snapshot, error) {
			s, err := b.Registrar.Snapshot(ctx, name)
			if name == "child" {
				s.Data = json.RawMessage(`"of the launch"`)
			}
			return s, err
		}
	}, nil},
	{"logs the Data of the launch", dataStopped, func(b *broken) {
		b.events = func(ctx context.Context, after int64) ([]lifecycle.Event, error) {
			all, err := b.Registrar.Events(ctx, after)
			for i := range all {
				if all[i].Name == "removed" {
					all[i].Snapshot.Data = json.RawMessage(`"of the launch"`)
				}
			}
			return all, err
		}
	}, nil},

	{"lists records by name", order, func(b *broken) {
		b.records = func(ctx context.Context) ([]lifecycle.Record, error) {
			all, err := b.Registrar.Records(ctx)
			slices.SortFunc(all, func(a, b lifecycle.Record) int { return strings.Compare(a.Name, b.Name) })
			return all, err
		}
	}, nil},
	{"reads one page of records", order, func(b *broken) {
		b.records = func(ctx context.Context) ([]lifecycle.Record, error) {
			all, err := b.Registrar.Records(ctx)
			return all[:min(len(all), 1000)], err
		}
	}, nil},
	{"returns all events at once", order, func(b *broken) {
		b.events = func(ctx context.Context, after int64) (all []lifecycle.Event, err error) {
			for {
				page, err := b.Registrar.Events(ctx, after)
				if err != nil || len(page) == 0 {
					return all, err
				}
				all, after = append(all, page...), page[len(page)-1].Seq
			}
		}
	}, nil},
	{"begins a page with the last event of the one before", order, func(b *broken) {
		b.events = func(ctx context.Context, after int64) ([]lifecycle.Event, error) {
			return b.Registrar.Events(ctx, max(0, after-1))
		}
	}, nil},
	{"knows pages by their number", order, func(b *broken) {
		b.events = func(ctx context.Context, after int64) ([]lifecycle.Event, error) {
			return b.Registrar.Events(ctx, after/1000*1000)
		}
	}, nil},

	{"has the snapshot of the first stop", newest, func(b *broken) {
		b.snapshot = func(ctx context.Context, name string) (lifecycle.Snapshot, error) {
			all, err := b.Registrar.Events(ctx, 0)
			for _, e := range all {
				if e.Name == name {
					return e.Snapshot, nil
				}
			}
			return lifecycle.Snapshot{}, err
		}
	}, nil},
	{"has the snapshot of a name that holds the name", newest, func(b *broken) {
		b.snapshot = func(ctx context.Context, name string) (lifecycle.Snapshot, error) {
			all, err := b.Registrar.Events(ctx, 0)
			for _, e := range slices.Backward(all) {
				if strings.Contains(e.Name, name) {
					return e.Snapshot, nil
				}
			}
			return lifecycle.Snapshot{}, err
		}
	}, nil},
	{"counts records for a watcher", watched, func(b *broken) {
		b.registrations = func(ctx context.Context) (int64, error) {
			all, err := b.Registrar.Records(ctx)
			return int64(len(all)), err
		}
	}, nil},
	{"counts its being asked", watched, func(b *broken) {
		n := int64(0)
		b.registrations = func(context.Context) (int64, error) { n++; return n, nil }
	}, nil},
	{"tells of what it did itself", watched, func(b *broken) {
		b.registrations = func(context.Context) (int64, error) { return 1, nil }
	}, nil},

	{"launches when cancelled", cancelledAll, func(b *broken) {
		b.launch = func(ctx context.Context, r lifecycle.Record) (lifecycle.Record, error) {
			return b.Registrar.Launch(context.WithoutCancel(ctx), r)
		}
	}, nil},
	{"launches when cancelled and says that it did not", cancelledAll, func(b *broken) {
		b.launch = func(ctx context.Context, r lifecycle.Record) (lifecycle.Record, error) {
			r, err := b.Registrar.Launch(context.WithoutCancel(ctx), r)
			return r, errors.Join(err, ctx.Err())
		}
	}, nil},
	{"beats when cancelled", cancelledAll, func(b *broken) {
		b.heartbeat = func(ctx context.Context, r lifecycle.Record) error {
			return b.Registrar.Heartbeat(context.WithoutCancel(ctx), r)
		}
	}, nil},
	{"sets Data when cancelled", cancelledAll, func(b *broken) {
		b.setData = func(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
			return b.Registrar.SetData(context.WithoutCancel(ctx), r, data)
		}
	}, nil},
	{"reads when cancelled", cancelledAll, func(b *broken) {
		b.snapshot = func(ctx context.Context, name string) (lifecycle.Snapshot, error) {
			return b.Registrar.Snapshot(context.WithoutCancel(ctx), name)
		}
	}, nil},
	{"has another error when cancelled", cancelledAll, func(b *broken) {
		b.events = func(ctx context.Context, after int64) ([]lifecycle.Event, error) {
			all, err := b.Registrar.Events(ctx, after)
			return all, otherError(err, context.Canceled)
		}
	}, nil},
	{"swaps when cancelled", cancelledAll, func(b *broken) {
		b.gate = func() lifecycle.KV {
			kv := newFaultyKV()
			kv.deaf = true
			return kv
		}
	}, nil},

	{"loses bindings", resumed, editSnapshot(func(s *lifecycle.Snapshot) { s.Bindings = nil }), nil},
	{"snapshots what it launched", resumed, editSnapshot(func(s *lifecycle.Snapshot) { s.Phase, s.Identity = lifecycle.Launching, liveness.Identity{} }), nil},
	{"has a gate that is always open", resumed, func(b *broken) {
		b.gate = func() lifecycle.KV { return new(memstore.Store).Gate() }
	}, nil},
	{"has a gate that stays closed", resumed, func(b *broken) {
		b.gate = func() lifecycle.KV {
			kv := newFaultyKV()
			kv.key = func(string) string { return "one" }
			kv.values["one"] = "done 9223372036854775807"
			return closedGate{kv}
		}
	}, nil},

	{"leaves the deepest of a family", heads, func(b *broken) {
		b.stop = func(ctx context.Context, r lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
			if deep, err := b.Registrar.Record(ctx, "chain 200"); err == nil {
				deep.Parent = ""
				_ = b.put(ctx, deep)
			}
			return b.Registrar.Stop(ctx, r, cause)
		}
	}, nil},
	{"stops the head first", heads, func(b *broken) {
		b.events = func(ctx context.Context, after int64) ([]lifecycle.Event, error) {
			all, err := b.Registrar.Events(ctx, after)
			for i := range all {
				j := len(all) - 1 - i
				if i < j {
					all[i], all[j] = all[j], all[i]
					all[i].Seq, all[j].Seq = all[j].Seq, all[i].Seq
				}
			}
			return all, err
		}
	}, nil},
	{"stops strangers too", heads, editLaunch(func(r *lifecycle.Record) {
		if r.Name == "stranger" {
			r.Parent = "chain 000"
		}
	}, nil), nil},

	{"shows the hook nothing", hookShown, nil, func(o *storetest.Options) { o.OnStop = nil }},
	{"shows the hook an event without a number", hookShown, nil, editHook(func(e *lifecycle.Event) { e.Seq = 0 })},
	{"shows the hook an event without bindings", hookShown, nil, editHook(func(e *lifecycle.Event) { e.Snapshot.Bindings = nil })},
	{"shows the hook an event without its record", hookShown, nil, editHook(func(e *lifecycle.Event) { e.Snapshot.Record = lifecycle.Record{} })},
	{"shows the hook an event without a reason", hookShown, nil, editHook(func(e *lifecycle.Event) { e.Reason = "" })},
	{"shows the hook heads alone", hookShown, nil, func(o *storetest.Options) {
		hook := o.OnStop
		o.OnStop = func(ctx context.Context, e lifecycle.Event) error {
			if e.Reason == lifecycle.ReasonParentStopped {
				return nil
			}
			return hook(ctx, e)
		}
	}},
	{"does as it likes", hookUndoes, nil, func(o *storetest.Options) {
		hook := o.OnStop
		o.OnStop = func(ctx context.Context, e lifecycle.Event) error { _ = hook(ctx, e); return nil }
	}},
	{"hides the error of the hook", hookUndoes, nil, func(o *storetest.Options) {
		hook := o.OnStop
		o.OnStop = func(ctx context.Context, e lifecycle.Event) error { return otherError(hook(ctx, e), hook(ctx, e)) }
	}},
	{"stops the children of what is refused", hookUndoes, func(b *broken) {
		b.stop = func(ctx context.Context, r lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
			outcome, err := b.Registrar.Stop(ctx, r, cause)
			if child, childErr := b.Registrar.Record(ctx, "child"); err != nil && childErr == nil {
				_, _ = b.Registrar.Stop(ctx, child, cause)
			}
			return outcome, err
		}
	}, nil},
	{"stops nothing of a batch that is refused", hookBatch, func(b *broken) {
		b.stopBatch = func(ctx context.Context, stops []lifecycle.Stop) (int, error) {
			n, err := b.Registrar.(lifecycle.BatchStopper).StopBatch(ctx, stops)
			if err != nil {
				n = 0
			}
			return n, err
		}
	}, nil},
	{"goes on after what is refused", hookBatch, func(b *broken) {
		b.stopBatch = func(ctx context.Context, stops []lifecycle.Stop) (int, error) {
			n, err := b.Registrar.(lifecycle.BatchStopper).StopBatch(ctx, stops)
			if err != nil {
				_, _ = b.Registrar.(lifecycle.BatchStopper).StopBatch(ctx, stops[n+1:])
			}
			return n, err
		}
	}, nil},
	{"gives up at what is refused", hookPass, nil, func(o *storetest.Options) {
		hook := o.OnStop
		o.OnStop = func(ctx context.Context, e lifecycle.Event) error {
			if err := hook(ctx, e); err != nil {
				return fmt.Errorf("%w: %w", lifecycle.ErrUnavailable, err)
			}
			return nil
		}
	}},

	{"stops whatever has the name", namesake, func(b *broken) {
		b.stop = func(ctx context.Context, r lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
			return b.Registrar.Stop(ctx, b.ofName(r), cause)
		}
	}, nil},
	{"stops whatever changed", revived, func(b *broken) {
		b.stopBatch = func(ctx context.Context, stops []lifecycle.Stop) (int, error) {
			for i := range stops {
				stops[i].Cause.IfUnchanged = false
			}
			return b.Registrar.(lifecycle.BatchStopper).StopBatch(ctx, stops)
		}
	}, nil},
	{"says Stopped of what another has stopped", handles, func(b *broken) {
		b.stopBatch = func(ctx context.Context, stops []lifecycle.Stop) (int, error) {
			n, err := b.Registrar.(lifecycle.BatchStopper).StopBatch(ctx, stops)
			for i := range stops {
				stops[i].Outcome = lifecycle.Stopped
			}
			return n, err
		}
		once := false // nor does it see that others stop
		b.candidates = func(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
			if all, err := b.Registrar.Records(ctx); err == nil && !once {
				once = true
				return func(yield func(lifecycle.Record, error) bool) {
					for i := range 60 {
						if i < len(all) && !yield(all[i], nil) || i >= len(all) && !yield(stale(i), nil) {
							return
						}
					}
				}
			}
			return b.Registrar.Candidates(ctx)
		}
	}, nil},

	{"reads nothing where one record is garbled", garbledNamed, func(b *broken) {
		b.records = func(ctx context.Context) ([]lifecycle.Record, error) {
			all, err := b.Registrar.Records(ctx)
			if err != nil {
				return nil, err
			}
			return all, nil
		}
	}, nil},
	{"hides that a record is garbled", garbledNamed, func(b *broken) {
		b.records = func(ctx context.Context) ([]lifecycle.Record, error) {
			all, err := b.Registrar.Records(ctx)
			if errors.Is(err, lifecycle.ErrInvalidRecord) {
				err = nil
			}
			return all, err
		}
	}, nil},
	{"does not know a garbled record", garbledNamed, func(b *broken) {
		b.record = func(ctx context.Context, name string) (lifecycle.Record, error) {
			r, err := b.Registrar.Record(ctx, name)
			if errors.Is(err, lifecycle.ErrInvalidRecord) {
				err = lifecycle.ErrNotRegistered
			}
			return r, err
		}
	}, nil},
	{"does not yield a garbled record", garbledNamed, withoutGarbled, nil},
	{"yields a garbled record without its incarnation", garbledNamed, func(b *broken) {
		b.candidates = func(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
			return func(yield func(lifecycle.Record, error) bool) {
				for r, err := range b.Registrar.Candidates(ctx) {
					if err != nil {
						r.Incarnation = ""
					}
					if !yield(r, err) {
						return
					}
				}
			}
		}
	}, nil},
	{"gives the name of a garbled record away", garbledNamed, func(b *broken) {
		b.launch = func(ctx context.Context, r lifecycle.Record) (lifecycle.Record, error) {
			launched, err := b.Registrar.Launch(ctx, r)
			if errors.Is(err, lifecycle.ErrNameTaken) {
				return r, nil
			}
			return launched, err
		}
	}, nil},
	{"passes over a garbled record", garbledPass, withoutGarbled, nil},
	{"ends a pass at a garbled record", garbledPass, func(b *broken) {
		b.candidates = func(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
			return func(yield func(lifecycle.Record, error) bool) {
				for r, err := range b.Registrar.Candidates(ctx) {
					if !yield(r, err) || err != nil {
						return
					}
				}
			}
		}
	}, nil},
	{"removes a garbled record", garbledPass, func(b *broken) {
		b.candidates = func(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
			return func(yield func(lifecycle.Record, error) bool) {
				for r, err := range b.Registrar.Candidates(ctx) {
					if err != nil {
						_, _ = b.Registrar.Stop(ctx, r, lifecycle.Cause{})
					}
					if !yield(r, err) {
						return
					}
				}
			}
		}
	}, nil},
	{"stops no garbled record", garbledStop, func(b *broken) {
		b.stop = func(ctx context.Context, r lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
			if _, err := b.Registrar.Record(ctx, r.Name); errors.Is(err, lifecycle.ErrInvalidRecord) {
				return 0, err
			}
			return b.Registrar.Stop(ctx, r, cause)
		}
	}, nil},
	{"stops a garbled record that may have changed", garbledStop, func(b *broken) {
		b.stop = func(ctx context.Context, r lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
			cause.IfUnchanged = false
			return b.Registrar.Stop(ctx, r, cause)
		}
	}, nil},
	{"does not keep what stood in a garbled record", garbledStop, editSnapshot(func(s *lifecycle.Snapshot) { s.Garbled = nil }), nil},
	{"keeps the name of a garbled record", garbledStop, func(b *broken) {
		b.launch = func(ctx context.Context, r lifecycle.Record) (lifecycle.Record, error) {
			if _, err := b.Registrar.Snapshot(ctx, r.Name); err == nil {
				return lifecycle.Record{}, lifecycle.ErrNameTaken
			}
			return b.Registrar.Launch(ctx, r)
		}
	}, nil},
	{"stops the parent of a garbled record", garbledChild, func(b *broken) {
		b.stop = func(ctx context.Context, r lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
			outcome, err := b.Registrar.Stop(ctx, r, cause)
			if errors.Is(err, lifecycle.ErrInvalidRecord) {
				return lifecycle.Stopped, nil
			}
			return outcome, err
		}
	}, nil},
	{"stops a garbled record for its parent and says that it did not", garbledChild, func(b *broken) {
		b.stop = func(ctx context.Context, r lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
			outcome, err := b.Registrar.Stop(ctx, r, cause)
			for child, garbled := range b.Registrar.Candidates(ctx) {
				if garbled != nil {
					_, _ = b.Registrar.Stop(ctx, child, cause)
				}
			}
			return outcome, err
		}
	}, nil},
	{"reads no events where one is garbled", garbledEvent, func(b *broken) {
		b.events = func(ctx context.Context, after int64) ([]lifecycle.Event, error) {
			all, err := b.Registrar.Events(ctx, after)
			if err != nil {
				return nil, err
			}
			return all, nil
		}
	}, nil},
	{"hides that an event is garbled", garbledEvent, func(b *broken) {
		b.events = func(ctx context.Context, after int64) ([]lifecycle.Event, error) {
			all, err := b.Registrar.Events(ctx, after)
			return all, otherError(err, lifecycle.ErrInvalidRecord)
		}
	}, nil},
	{"has no snapshot where it is garbled", garbledEvent, func(b *broken) {
		b.snapshot = func(ctx context.Context, name string) (lifecycle.Snapshot, error) {
			s, err := b.Registrar.Snapshot(ctx, name)
			if errors.Is(err, lifecycle.ErrInvalidRecord) {
				err = lifecycle.ErrNoSnapshot
			}
			return s, err
		}
	}, nil},

	{"gives a name to all that ask", processNames, func(b *broken) {
		b.launch = func(ctx context.Context, r lifecycle.Record) (lifecycle.Record, error) {
			launched, err := b.Registrar.Launch(ctx, r)
			if errors.Is(err, lifecycle.ErrNameTaken) {
				return r, nil
			}
			return launched, err
		}
	}, nil},
	{"keeps records for itself", processNames, func(b *broken) { *b = *newBroken(memstore.New(memstore.Options{})) }, nil},
	{"says that each process has stopped all", processPass, func(b *broken) {
		b.stopBatch = func(_ context.Context, stops []lifecycle.Stop) (int, error) {
			for i := range stops {
				stops[i].Outcome = lifecycle.Stopped
			}
			return len(stops), nil
		}
	}, nil},
	{"has a gate for each process", processGate, func(b *broken) {
		gate := new(memstore.Store).Gate()
		b.gate = func() lifecycle.KV { return gate }
	}, nil},
	{"says that it has registered before it has", processKills, func(b *broken) {
		b.launch = func(_ context.Context, r lifecycle.Record) (lifecycle.Record, error) {
			r.Incarnation = "soon"
			return r, nil
		}
		b.setData = func(context.Context, lifecycle.Record, json.RawMessage) error { return nil }
		b.bind = func(context.Context, lifecycle.Record, string) error { return nil }
		b.stop = func(context.Context, lifecycle.Record, lifecycle.Cause) (lifecycle.Outcome, error) {
			return lifecycle.Stopped, nil
		}
	}, nil},
	{"says that it has set Data before it has", processKills, func(b *broken) {
		b.setData = func(context.Context, lifecycle.Record, json.RawMessage) error { return nil }
	}, nil},
	{"says that it has stopped before it has", processKills, func(b *broken) {
		b.stop = func(context.Context, lifecycle.Record, lifecycle.Cause) (lifecycle.Outcome, error) {
			return lifecycle.Stopped, nil
		}
	}, nil},
}

// stale is a record that somebody has stopped.
func stale(i int) lifecycle.Record {
	name := fmt.Sprintf("worker-%02d", i)
	return lifecycle.Record{Name: name, Incarnation: "stale", Owner: "this machine", Identity: liveness.Identity{PID: 4711, Unique: 67890}}
}

// closedGate says of each key that another has swapped it.
type closedGate struct{ *faultyKV }

func (g closedGate) CompareAndSwap(context.Context, string, string, string) (bool, error) {
	return false, nil
}

func withoutGarbled(b *broken) {
	b.candidates = func(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
		return func(yield func(lifecycle.Record, error) bool) {
			for r, err := range b.Registrar.Candidates(ctx) {
				if err == nil && !yield(r, nil) {
					return
				}
			}
		}
	}
}

// editHook changes the event that the hook is shown.
func editHook(edit func(*lifecycle.Event)) func(*storetest.Options) {
	return func(o *storetest.Options) {
		hook := o.OnStop
		o.OnStop = func(ctx context.Context, e lifecycle.Event) error {
			edit(&e)
			return hook(ctx, e)
		}
	}
}

func TestEveryFaultOfARegistrarIsCaught(t *testing.T) {
	t.Parallel()
	for _, test := range registrarFaults {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := storetest.CheckRegistrar(t, test.caughtBy, time.Minute, openFaulty(test))
			if err == nil || errors.Is(err, storetest.ErrNotApplicable) {
				t.Errorf("not caught by the case that a store %s: %v", test.caughtBy, err)
			}
		})
	}
}

func TestEveryCaseOfARegistrarCatchesAFault(t *testing.T) {
	t.Parallel()
	caught := map[string]bool{}
	for _, test := range registrarFaults {
		caught[test.caughtBy] = true
	}
	for _, name := range storetest.RegistrarNames() {
		if !caught[name] {
			t.Errorf("no fault is caught by the case %q", name)
		}
		delete(caught, name)
	}
	for name := range caught {
		t.Errorf("there is no case %q", name)
	}
}

// The stores that the faults are put into have none of their own.
func TestRegistrarWithoutAFaultPasses(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"memory", "garbled files"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			storetest.RunRegistrar(t, openFaulty(registrarFault{caughtBy: where}))
		})
	}
}
