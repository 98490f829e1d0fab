package liveness

import (
	"database/sql/driver"
	"fmt"
	"hash/crc64"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/rollcall-go/rollcall/bootid"
)

// Identity is what must be recorded about a process to know it again later,
// from another process, after a crash or in another boot. [Self], [Capture]
// and [CaptureProcess] make one; [Liveness] judges it.
//
// The zero Identity means that no process is tracked. Every field but PID may
// be empty: evidence that the system does not give, or that an older record
// does not have, is left out and the next weaker one decides.
type Identity struct {
	// PID is the process ID in the PID namespace of the recorder.
	PID int

	// Boot is the boot in which the process ran. Equal Starts, and Unique, mean
	// nothing in another one.
	Boot bootid.ID

	// Namespace is the recorder's view of PIDs. It is zero on systems without
	// namespaces.
	Namespace Namespace

	// Start is the kernel's own stamp of the process's start; 0 when not
	// recorded. Equal stamps mean something within Boot only; an unequal one,
	// read in the same time namespace, is never that of the same process. It is
	// one that does not move when the clock is stepped.
	//
	// Linux: field 22 of /proc/PID/stat, in clock ticks of 10 ms since boot
	// as the reader's time namespace counts them (proc_pid_stat(5)).
	// Windows: the creation time of GetProcessTimes, a FILETIME in 100 ns
	// since 1601; it is not adjusted when the clock is set.
	// FreeBSD and OpenBSD: microseconds since boot, ki_start and p_ustart less
	// kern.boottime. Stamps of one process may differ by one on OpenBSD.
	// macOS, NetBSD and DragonFly: microseconds since 1970, p_starttime,
	// p_ustart and kp_start, which are not adjusted when the clock is set.
	Start uint64

	// Unique is a number that the kernel gives to one process only in a boot;
	// 0 when not recorded.
	//
	// Linux 6.9 and later: the inode number of the process's pidfd on pidfs.
	// Windows: ProcessStartKey, where it is given. Nowhere else.
	Unique uint64

	// Marker is the value of an environment variable that was planted in the
	// process before it started, see [Plant]; empty when not recorded. A
	// child inherits it, so it tells processes apart only together with PID.
	// Record Start or Unique too: with a marker alone, a process that executes a
	// program with another environment looks like another process.
	Marker string

	// NotBefore and NotAfter bound the wall time of the process's start, for
	// rows that recorded nothing better: typically NotAfter is the time at
	// which the row was written, when the process was already running. The
	// zero time is no bound. They are held against the start with a tolerance
	// of two seconds, and a wall clock that was stepped since makes them
	// wrong: record the other fields wherever it is possible.
	NotBefore, NotAfter time.Time

	// unknown holds the fields of a newer writer, as text, so that reading
	// and writing again loses nothing.
	unknown string
}

// Namespace says in which PID and time namespace a PID and a Start stamp were
// read (pid_namespaces(7), time_namespaces(7)). The zero Namespace is that of
// a system without namespaces, or was not recorded.
type Namespace struct {
	// PID is the inode number of the PID namespace. The number of a namespace
	// that is gone is given to a new one soon.
	PID uint64
	// PIDUnique is the kernel's ID of the PID namespace, never given twice in
	// a boot; 0 on kernels without it. Linux 6.18 has it (NS_GET_ID, ioctl_nsfs(2)).
	PIDUnique uint64
	// InitStart is the Start stamp of the namespace's PID 1; 0 when it could
	// not be read. It tells a namespace from a later one with its number.
	InitStart uint64
	// Time is the inode number of the time namespace; 0 on kernels without.
	// That of one that is gone is given to a new one soon, but for that of the
	// namespace in which Linux boots.
	Time uint64
	// TimeUnique is the kernel's ID of the time namespace, as PIDUnique is that
	// of the PID namespace; 0 where Linux has booted in it, too.
	TimeUnique uint64
}

// IsZero reports whether id is the zero Identity: no process is tracked.
func (id Identity) IsZero() bool {
	if id.NotBefore.IsZero() && id.NotAfter.IsZero() { // in any location
		id.NotBefore, id.NotAfter = time.Time{}, time.Time{}
	}
	return id == Identity{}
}

// maxPID is the largest PID that any system here gives: a Windows DWORD, or
// what fits an int.
const maxPID = min(math.MaxUint32, math.MaxInt)

// identityPrefix starts every text; the number is the version of the format.
// A writer that adds a field keeps the number: readers carry unknown fields
// along. A writer that changes what a field means raises it.
//
// checkField ends every text. Its value is the check of all that stands before
// it, so that a text that was cut short, changed or put together out of two is
// not taken for that of another process.
const (
	identityPrefix = "rollcall1"
	checkField     = " check="
	checkDigits    = 16
)

// appendCheck appends the check of text: its CRC-64 (ECMA-182).
func appendCheck(b, text []byte) []byte {
	sum := crc64.Checksum(text, checkTable)
	for shift := 4*checkDigits - 4; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[sum>>shift&15])
	}
	return b
}

var checkTable = crc64.MakeTable(crc64.ECMA)

// cutCheck returns what stands before the check at the end of a text.
func cutCheck(text string) (string, error) {
	end := len(text) - len(checkField) - checkDigits
	if end < 0 || text[end:end+len(checkField)] != checkField {
		return "", fmt.Errorf("%w: no check at its end: it was cut short or changed", ErrInvalid)
	}
	var space [512]byte // on the stack
	var digits [checkDigits]byte
	body := append(space[:0], text[:end]...)
	if string(appendCheck(digits[:0], body)) != text[end+len(checkField):] {
		return "", fmt.Errorf("%w: the check at its end does not fit: it was changed", ErrInvalid)
	}
	return text[:end], nil
}

// String returns the identity as one line of printable ASCII, which [Parse]
// reads. It ends in a check of what stands before it. The zero Identity is the
// empty string. The text is stable: equal identities of one version of this
// package have equal texts. Compare texts rather than structs, because equal
// times can have unequal structs.
//
// Of an Identity that no process can have it is the error of
// [Identity.MarshalText] in parentheses, which Parse refuses.
func (id Identity) String() string {
	if id.IsZero() {
		return ""
	}
	if err := id.checkText(); err != nil {
		return "(" + err.Error() + ")"
	}
	var space [512]byte // on the stack
	return string(id.append(space[:0]))
}

func (id Identity) append(b []byte) []byte {
	b = append(b, identityPrefix...)
	b = strconv.AppendInt(append(b, " pid="...), int64(id.PID), 10)
	if !id.Boot.IsZero() {
		b = append(b, " boot="...)
		b = append(b, id.Boot.Quality.String()...)
		b = append(append(b, '/'), id.Boot.Machine...)
		b = append(append(b, '/'), id.Boot.Boot...)
	}
	b = appendUint(b, " pidns=", id.Namespace.PID)
	b = appendUint(b, " pidnsid=", id.Namespace.PIDUnique)
	b = appendUint(b, " init=", id.Namespace.InitStart)
	b = appendUint(b, " timens=", id.Namespace.Time)
	b = appendUint(b, " timensid=", id.Namespace.TimeUnique)
	b = appendUint(b, " start=", id.Start)
	b = appendUint(b, " unique=", id.Unique)
	if id.Marker != "" {
		b = appendEscaped(append(b, " marker="...), id.Marker)
	}
	if !id.NotBefore.IsZero() {
		b = id.NotBefore.UTC().AppendFormat(append(b, " notbefore="...), time.RFC3339Nano)
	}
	if !id.NotAfter.IsZero() {
		b = id.NotAfter.UTC().AppendFormat(append(b, " notafter="...), time.RFC3339Nano)
	}
	b = append(b, id.unknown...)
	return appendCheck(append(b, checkField...), b)
}

func appendUint(b []byte, key string, n uint64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendUint(append(b, key...), n, 10)
}

// appendEscaped writes s with every byte that is no printable ASCII, every
// space and every percent sign as %XX.
func appendEscaped(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '%' {
			b = append(b, '%', hex[c>>4], hex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}

func unescape(s string) (string, bool) {
	if !strings.Contains(s, "%") {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for len(s) > 0 {
		if s[0] != '%' {
			b, s = append(b, s[0]), s[1:]
			continue
		}
		if len(s) < 3 {
			return "", false
		}
		n, err := strconv.ParseUint(s[1:3], 16, 8)
		if err != nil {
			return "", false
		}
		b, s = append(b, byte(n)), s[3:]
	}
	return string(b), true
}

// Parse reads the text of [Identity.String], with a newline at its end or
// without, as a file may have it. The empty string is the zero Identity. A text
// that was cut short or changed anywhere is refused. Fields of a newer version
// are kept and written out again by String. Its errors match [ErrInvalid], and
// [ErrNewerVersion] where the whole format is newer; they name the field, and
// quote at most the start of a text.
func Parse(text string) (Identity, error) {
	id, err := parse(strings.TrimSuffix(text, "\n"))
	if err != nil {
		return Identity{}, fmt.Errorf("liveness: parse identity %s: %w", quoteStart(text), err)
	}
	return id, nil
}

// quoteStart quotes s, cut to a length that fits an error message.
func quoteStart(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "…"
	}
	return strconv.QuoteToASCII(s)
}

func parse(text string) (Identity, error) {
	if text == "" {
		return Identity{}, nil
	}
	version, _, _ := strings.Cut(text, " ")
	if version != identityPrefix {
		if newerVersion(version) {
			return Identity{}, fmt.Errorf("%w: %w: %s", ErrInvalid, ErrNewerVersion, quoteStart(version))
		}
		return Identity{}, fmt.Errorf("%w: it does not start with %q", ErrInvalid, identityPrefix)
	}
	text, err := cutCheck(text)
	if err != nil {
		return Identity{}, err
	}
	_, rest, _ := strings.Cut(text, " ")
	var id Identity
	var unknown []byte
	var seen uint
	for rest != "" {
		var field string
		field, rest, _ = strings.Cut(rest, " ")
		key, value, ok := strings.Cut(field, "=")
		if !ok || key == "" || !isPrintable(field) {
			return Identity{}, fmt.Errorf("%w: field %s", ErrInvalid, quoteStart(field))
		}
		bit, ok := id.set(key, value)
		if !ok || seen&bit != 0 {
			return Identity{}, fmt.Errorf("%w: field %s", ErrInvalid, quoteStart(field))
		}
		if bit == 0 {
			unknown = append(append(unknown, ' '), field...)
		}
		seen |= bit
	}
	if id.PID == 0 {
		return Identity{}, fmt.Errorf("%w: no pid", ErrInvalid)
	}
	id.unknown = string(unknown)
	return id, nil
}

// newerVersion reports whether s is the prefix with a number above ours.
func newerVersion(s string) bool {
	digits, ok := strings.CutPrefix(s, strings.TrimRight(identityPrefix, "0123456789"))
	n, err := strconv.ParseUint(digits, 10, 64)
	return ok && err == nil && n > 1
}

// set stores one field. It returns the field's bit, 0 for a key it does not
// know, and whether the value is a good one.
func (id *Identity) set(key, value string) (bit uint, ok bool) {
	switch key {
	case "pid":
		n, ok := parseUint(value)
		if !ok || n > maxPID {
			return 1, false
		}
		id.PID = int(n)
		return 1, true
	case "boot":
		boot, err := bootid.Parse(value)
		id.Boot = boot
		return 2, err == nil && !boot.IsZero()
	case "pidns":
		id.Namespace.PID, ok = parseUint(value)
		return 4, ok
	case "pidnsid":
		id.Namespace.PIDUnique, ok = parseUint(value)
		return 8, ok
	case "init":
		id.Namespace.InitStart, ok = parseUint(value)
		return 16, ok
	case "timens":
		id.Namespace.Time, ok = parseUint(value)
		return 32, ok
	case "timensid":
		id.Namespace.TimeUnique, ok = parseUint(value)
		return 64, ok
	case "start":
		id.Start, ok = parseUint(value)
		return 128, ok
	case "unique":
		id.Unique, ok = parseUint(value)
		return 256, ok
	case "marker":
		id.Marker, ok = unescape(value)
		return 512, ok && value != ""
	case "notbefore":
		id.NotBefore, ok = parseTime(value)
		return 1024, ok
	case "notafter":
		id.NotAfter, ok = parseTime(value)
		return 2048, ok
	default:
		return 0, key != "check"
	}
}

// parseUint reads a number as appendUint writes it: positive, no sign, no
// leading zero.
func parseUint(s string) (uint64, bool) {
	if s == "" || s[0] < '1' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

func parseTime(s string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, s)
	return t.UTC(), err == nil && !t.IsZero() && hasText(t)
}

func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// validate returns an error that matches ErrInvalid when no process can have
// this PID.
func (id *Identity) validate() error {
	if id.PID < 1 || id.PID > maxPID {
		return invalidPID(id.PID)
	}
	return nil
}

// MarshalText returns the text of [Identity.String]; encoding/json uses it
// too. An Identity that no process can have gives an error that matches
// [ErrInvalid].
func (id Identity) MarshalText() ([]byte, error) {
	if id.IsZero() {
		return []byte{}, nil
	}
	if err := id.checkText(); err != nil {
		return nil, err
	}
	return id.append(make([]byte, 0, 512)), nil
}

// checkText returns an error if the text could not be read back.
func (id *Identity) checkText() error {
	err := id.validate()
	switch {
	case err != nil:
	case !id.Boot.Valid():
		err = fmt.Errorf("%w: boot %q: %w", ErrInvalid, id.Boot.String(), bootid.ErrInvalid)
	case !hasText(id.NotBefore) || !hasText(id.NotAfter):
		err = fmt.Errorf("%w: a year that has no text", ErrInvalid)
	default:
		return nil
	}
	return fmt.Errorf("liveness: marshal identity: %w", err)
}

// hasText reports whether the text of t can be read back (RFC 3339, 5.6).
func hasText(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 0 && year <= 9999
}

// UnmarshalText reads the text of [Identity.String], as [Parse] does.
func (id *Identity) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// Value implements [driver.Valuer]: the text of [Identity.String], the empty
// string for the zero Identity.
func (id Identity) Value() (driver.Value, error) {
	text, err := id.MarshalText()
	if err != nil {
		return nil, err
	}
	return string(text), nil
}

// Scan implements [database/sql.Scanner]. It reads what Value wrote, as a
// string or as bytes. NULL and the empty string are the zero Identity. Its
// errors match [ErrInvalid].
func (id *Identity) Scan(value any) error {
	switch value := value.(type) {
	case nil:
		*id = Identity{}
		return nil
	case string:
		return id.UnmarshalText([]byte(value))
	case []byte:
		return id.UnmarshalText(value)
	default:
		return fmt.Errorf("liveness: scan identity: %w: a %T, not a text", ErrInvalid, value)
	}
}
