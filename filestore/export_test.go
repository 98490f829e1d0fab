package filestore

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io/fs"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// Put stores a record exactly as given, in any phase and with any identity and
// heartbeat, as storetest needs it. It replaces the same incarnation.
func (s *Store) Put(ctx context.Context, record lifecycle.Record) error {
	err := record.Validate()
	if err == nil {
		err = s.write(ctx, func(open *files) error {
			if r := s.state.find(record); r != nil {
				return s.put(open, recordLine{Record: record, Bindings: r.Bindings, Number: r.Number, Op: opActivate})
			}
			if s.state.rows[record.Name] != nil {
				return lifecycle.ErrNameTaken
			}
			return s.register(ctx, open, record, false)
		})
	}
	if err != nil {
		return fmt.Errorf("filestore: put %q: %w", record.Name, err)
	}
	return nil
}

// Disk and File are what the package asks of the file system.
type (
	Disk interface {
		OpenFile(path string, flag int) (File, error)
		Create(path string, like fs.FileInfo) (File, error)
		Replace(from, to string) error
		SyncDir(path string) error
	}
	File = file
)

// OSDisk is the disk of the operating system.
func OSDisk() Disk { return osDisk{} }

// WithDisk returns the options with another disk.
func (o Options) WithDisk(d Disk) Options {
	o.disk = d
	return o
}

// RewriteFrom returns the options with another number of bytes from which the
// records are rewritten.
func (o Options) RewriteFrom(bytes int64) Options {
	o.rewriteFrom = bytes
	return o
}

// GateOn is Gate on another disk.
func GateOn(path string, d Disk) lifecycle.KV { return &gate{path: path, disk: d} }

var (
	DecodeRecord = func(text []byte) error { return decodeRecord(text).err }
	DecodeEvent  = func(text []byte) error { return decodeEvent(text).err }
	ParseHeader  = func(text []byte) error { _, _, err := parseHeader(text, holdsRecords); return err }
)

// Lock takes a lock at once.
func Lock(path string) (unlock func(), err error) { return lock(context.Background(), path, true, 0) }

// Sign gives a JSON object without a checksum the one that it should have.
func Sign(object []byte) []byte {
	body := bytes.TrimSuffix(bytes.TrimSuffix(object, []byte("\n")), []byte("}"))
	return fmt.Appendf(bytes.Clone(body), crcFormat+"\n", crc32.Checksum(body, castagnoli))
}

// RecordLine is the line of a record with its bindings.
func RecordLine(record lifecycle.Record, number int64, bindings ...string) ([]byte, error) {
	return appendLine(nil, recordLine{Record: record, Bindings: bindings, Number: number, Op: opActivate})
}
