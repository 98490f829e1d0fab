// Package kinfo reads what macOS and the BSDs tell about a process by
// sysctl(3). Its decoders make no system call and have no build tag, so that
// their tests run on every system.
package kinfo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Process is what a record says.
type Process struct {
	PID    int
	Parent int // the PID of the parent
	// Start is when the process started, in microseconds since 1970, as the
	// kernel publishes it; 0 where it does not: on OpenBSD and NetBSD of a
	// zombie, on NetBSD also while the process executes a program.
	Start int64
	// Exited says that the process is a zombie.
	Exited bool
}

// ErrMalformed is returned when a record is not as the system's header has it.
var ErrMalformed = errors.New("malformed process record")

// System says how an operating system publishes its processes.
type System struct {
	// Name is its GOOS.
	Name string
	// AddsBootTime says that Start is the time since boot at which the process
	// started, plus the kern.boottime of now: both move when the clock is
	// stepped. Elsewhere Start is the wall time that was read back then.
	AddsBootTime bool
	// Slack is how many microseconds two readings of Start less kern.boottime
	// may lie apart for the same process.
	Slack int64
	// MaxPID is the highest PID where larger numbers are those of threads and
	// answered for with their process; elsewhere no number is larger.
	MaxPID int
	// NoEnviron says that the environment of a process cannot be asked for.
	NoEnviron bool
	// HidesZombies says that a zombie has no record, though kill(2) finds it.
	HidesZombies bool

	// query is the sysctl that takes a PID, of which the size of a record and
	// the number of records wanted follow where wantsSize is set.
	query     string
	wantsSize bool
	sizes     []int // that a record may have, in bytes
	order     binary.ByteOrder
	fields    fields
	// thread is the thread ID in a record, where threads can be listed.
	thread        field
	bootTimeNanos bool // kern.boottime counts nanoseconds
}

// Query returns the name and the arguments of the sysctl that answers with the
// record of one process.
func (s *System) Query(pid int) (name string, args []int) {
	if s.wantsSize {
		const byPID = 1 // KERN_PROC_PID
		return s.query, []int{byPID, pid, s.sizes[len(s.sizes)-1], 1}
	}
	return s.query, []int{pid}
}

// List returns the sysctl that answers with the records of all processes;
// Split takes the answer apart.
func (s *System) List() (name string, args []int) {
	if s.wantsSize {
		const all, maxRecords = 0, 1 << 20 // KERN_PROC_ALL
		return s.query, []int{all, 0, s.sizes[0], maxRecords}
	}
	return "kern.proc.all", nil
}

// Split returns the records of a list. Their size is the one of those possible
// of which the first record is a good one and the list a multiple.
func (s *System) Split(list []byte) ([][]byte, error) {
	for _, size := range s.sizes {
		if len(list) == 0 || len(list)%size != 0 {
			continue
		}
		if _, err := s.Decode(list[len(list)-size:]); err != nil {
			continue
		}
		var records [][]byte
		for ; len(list) > 0; list = list[size:] {
			records = append(records, list[:size])
		}
		return records, nil
	}
	return nil, fmt.Errorf("%w: a list of %d bytes", ErrMalformed, len(list))
}

// InitThread returns the sysctl that answers with the records of PID 1 and of its
// threads, if the system has one; DecodeInitThread reads the answer.
func (s *System) InitThread() (name string, args []int, ok bool) {
	if s.thread.size == 0 {
		return "", nil, false
	}
	const byPID, showThreads = 1, 0x40000000 // KERN_PROC_PID, KERN_PROC_SHOW_THREADS
	return s.query, []int{byPID | showThreads, 1, s.sizes[0], 2}, true
}

// DecodeInitThread returns PID 1 and the ID of its main thread.
func (s *System) DecodeInitThread(records []byte) (Process, uint32, error) {
	size := s.sizes[0]
	if len(records) != 2*size {
		return Process{}, 0, fmt.Errorf("%w: %d bytes, not two of %d", ErrMalformed, len(records), size)
	}
	process, err := s.Decode(records[:size])
	if err != nil {
		return Process{}, 0, err
	}
	return process, uint32(s.read(records[size:], s.thread)), nil
}

// fields says where in a record the fields are.
type fields struct {
	pid     int // int32
	parent  int // int32
	seconds field
	micros  field
	status  field
	zombie  []uint64 // the values of status of a process that has exited
	valid   field    // 0 if the record has no start; not used where its size is 0
	size    field    // the size of the record; not used where its size is 0
}

// field is an integer of 1, 4 or 8 bytes.
type field struct{ offset, size int }

// Decode reads a record. What the kernel cannot have written gives an error
// that matches ErrMalformed, and a zero Process.
func (s *System) Decode(record []byte) (Process, error) {
	if !slices.Contains(s.sizes, len(record)) {
		return Process{}, fmt.Errorf("%w: %d bytes, not %v", ErrMalformed, len(record), s.sizes)
	}
	if size := s.fields.size; size.size != 0 && s.read(record, size) != uint64(len(record)) {
		return Process{}, fmt.Errorf("%w: %d bytes that say they are %d", ErrMalformed, len(record), s.read(record, size))
	}
	var p Process
	p.PID = int(int32(s.read(record, field{s.fields.pid, 4})))
	if p.PID < 0 {
		return Process{}, fmt.Errorf("%w: PID %d", ErrMalformed, p.PID)
	}
	p.Parent = int(int32(s.read(record, field{s.fields.parent, 4})))
	status := s.read(record, s.fields.status)
	for _, zombie := range s.fields.zombie {
		p.Exited = p.Exited || status == zombie
	}
	if valid := s.fields.valid; valid.size != 0 && s.read(record, valid) == 0 {
		return p, nil
	}
	seconds, micros := s.read(record, s.fields.seconds), s.read(record, s.fields.micros)
	if seconds > maxSeconds || micros >= 1e6 {
		return Process{}, fmt.Errorf("%w: a start of %d s and %d us", ErrMalformed, seconds, micros)
	}
	p.Start = int64(seconds)*1e6 + int64(micros)
	return p, nil
}

// maxSeconds keeps times in microseconds within an int64, by far.
const maxSeconds = 1 << 40

func (s *System) read(record []byte, f field) uint64 {
	switch bytes := record[f.offset : f.offset+f.size]; f.size {
	case 1:
		return uint64(bytes[0])
	case 4:
		return uint64(s.order.Uint32(bytes))
	default:
		return s.order.Uint64(bytes)
	}
}

// bootMicros turns kern.boottime into microseconds.
func (s *System) bootMicros(seconds, fraction int64) int64 {
	if s.bootTimeNanos {
		fraction /= 1000
	}
	return seconds*1e6 + fraction
}
