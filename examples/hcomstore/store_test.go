package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"path/filepath"
	"testing"
	"time"
	"unicode/utf8"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/storetest"
)

func newTestScene(t testing.TB) *scene {
	s, err := newScene(t.Context(), filepath.Join(t.TempDir(), "hcom.db"))
	qt.New(t).Assert(err, qt.IsNil)
	t.Cleanup(s.end)
	return s
}

// subject is a Store as package storetest wants it. hcom's rows cannot hold every
// record, so one is written as a row that stands for it: each identity is a PID,
// each heartbeat a last_seen and each incarnation a created_at of its own. The
// record itself travels in launch_args, as far as into the snapshot.
type subject struct {
	*Store
	t     testing.TB
	scene *scene
	path  string
}

func newSubject(t testing.TB) subject {
	path := filepath.Join(t.TempDir(), "hcom.db")
	s, err := newScene(t.Context(), path)
	qt.New(t).Assert(err, qt.IsNil)
	t.Cleanup(s.end)
	return subject{&Store{s.db}, t, s, path}
}

func (s subject) Reopen(context.Context) (storetest.Subject, error) {
	if err := s.scene.db.Close(); err != nil {
		return nil, err
	}
	db, err := open(s.path)
	if err != nil {
		return nil, err
	}
	s.scene.db = db
	return subject{&Store{db}, s.t, s.scene, s.path}, nil
}

// number is another one for another text.
func number(text string) int64 {
	h := fnv.New32a()
	h.Write([]byte(text))
	return 1 + int64(h.Sum32()>>2)
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func standIn(record lifecycle.Record) row {
	pid, args := number(record.Identity.String()), text(record)
	r := row{
		snapshot: snapshot{
			Name: record.Name, CreatedAt: float64(number(record.Incarnation)), Tool: "claude", LaunchArgs: &args,
			LastSeen: 1<<31 + number(text(record.Heartbeat)), PID: &pid, Background: 1,
		},
		status: "active",
		parent: record.Parent,
	}
	if record.Owner != "" {
		r.OriginDeviceID = &record.Owner
	}
	if record.Parent != "" {
		r.ParentName = &record.Parent
	}
	switch record.Phase {
	case lifecycle.Launching:
		r.status, r.context = "pending", "new"
	case lifecycle.Inactive:
		r.status = "inactive"
	}
	return r
}

// written is the record as the store gives it.
func written(record lifecycle.Record) (lifecycle.Record, error) {
	r := standIn(record)
	return r.record(readClock())
}

// meant is the record that a row stands for.
func meant(data []byte) (lifecycle.Record, error) {
	var taken struct {
		LaunchArgs string `json:"launch_args"`
	}
	var record lifecycle.Record
	if err := json.Unmarshal(data, &taken); err != nil {
		return record, err
	}
	return record, json.Unmarshal([]byte(taken.LaunchArgs), &record)
}

func (s subject) Put(ctx context.Context, record lifecycle.Record) error {
	if err := record.Validate(); err != nil {
		return err
	}
	r := standIn(record)
	var stopped bool
	if err := s.db.QueryRowContext(ctx, `SELECT count(*) > 0 FROM events WHERE instance = ? AND json_extract(data, '$.snapshot.created_at') = ?`,
		r.Name, r.CreatedAt).Scan(&stopped); err != nil || stopped {
		return errors.Join(lifecycle.ErrNotRegistered, err)
	}
	_, err := s.db.ExecContext(ctx, `INSERT INTO instances (name, created_at, launch_args, last_seen, pid, background, status, status_context, origin_device_id, parent_name)
		VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET launch_args = excluded.launch_args, last_seen = excluded.last_seen, pid = excluded.pid,
			status = excluded.status, status_context = excluded.status_context, origin_device_id = excluded.origin_device_id
		WHERE created_at = excluded.created_at`,
		r.Name, r.CreatedAt, r.LaunchArgs, r.LastSeen, r.PID, r.status, r.context, r.OriginDeviceID, r.ParentName)
	return err
}

func (s subject) Bind(ctx context.Context, record lifecycle.Record, key string) error {
	if !utf8.ValidString(key) {
		return lifecycle.ErrInvalidRecord
	}
	r := standIn(record)
	result, err := s.db.ExecContext(ctx, `INSERT INTO process_bindings (process_id, instance_name, updated_at)
		SELECT ?, name, 0 FROM instances WHERE name = ? AND created_at = ?`, key, r.Name, r.CreatedAt)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); n != 1 || err != nil {
		return errors.Join(lifecycle.ErrNotRegistered, err)
	}
	return nil
}

func (s subject) Candidates(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
	return func(yield func(lifecycle.Record, error) bool) {
		for got, err := range s.Store.Candidates(ctx) {
			var record lifecycle.Record
			if err == nil {
				record, err = meant(got.Data)
			}
			if err == nil {
				err = s.compare(got, record)
			}
			if !yield(record, err) {
				return
			}
		}
	}
}

// compare holds what the store yields against what was written.
func (s subject) compare(got, record lifecycle.Record) error {
	want, err := written(record)
	if err != nil {
		return err
	}
	want.Heartbeat.Boot, want.Heartbeat.Awake = got.Heartbeat.Boot, got.Heartbeat.Awake
	if !got.SameState(want) || !got.CreatedAt.Equal(want.CreatedAt) || got.Incarnation != want.Incarnation ||
		got.Name != want.Name || got.Owner != want.Owner || got.Parent != want.Parent {
		return fmt.Errorf("the store yields %+v, want %+v", got, want)
	}
	return nil
}

func (s subject) Records(ctx context.Context) ([]lifecycle.Record, error) {
	var all []lifecycle.Record
	for record, err := range s.Candidates(ctx) {
		if err != nil {
			return nil, err
		}
		all = append(all, record)
	}
	return all, nil
}

func (s subject) Stop(ctx context.Context, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	record, err := written(record)
	if err != nil {
		return 0, err
	}
	return s.Store.Stop(ctx, record, cause)
}

func (s subject) Events(ctx context.Context) ([]lifecycle.Event, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id, timestamp, instance, data, json_extract(data, '$.snapshot') FROM events WHERE type = 'life' ORDER BY id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []lifecycle.Event
	for rows.Next() {
		var e lifecycle.Event
		var at, data, snapshot string
		if err := rows.Scan(&e.Seq, &at, &e.Name, &data, &snapshot); err != nil {
			return nil, err
		}
		if e.At, err = time.Parse(time.RFC3339, at); err != nil {
			return nil, err
		}
		var kept event
		if err := json.Unmarshal([]byte(data), &kept); err != nil {
			return nil, err
		}
		if e.Snapshot.Record, err = meant([]byte(snapshot)); err != nil {
			return nil, err
		}
		e.Action, e.By, e.Reason, e.Verdict = kept.Action, kept.By, kept.Reason, kept.Verdict
		e.Incarnation, e.Snapshot.Bindings = e.Snapshot.Incarnation, kept.Bindings
		all = append(all, e)
	}
	return all, rows.Err()
}

func TestStoreKeepsTheRulesOfItsInterface(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Subject { return newSubject(t) })
}

func TestGateKeepsTheRulesOfItsInterface(t *testing.T) {
	t.Parallel()
	storetest.RunKV(t, func(t *testing.T) lifecycle.KV { return &Gate{newTestScene(t).db} })
}
