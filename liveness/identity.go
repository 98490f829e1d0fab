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
	//
	// Machines are told apart by their machine ID. Where machines share records and
	// one of them has none, or has that of another it was cloned from, a process of
	// the other looks as if it was of an earlier boot. A sandbox with a kernel of its
	// own is such a machine. A virtual machine that is restored from a snapshot has
	// the boot ID, start stamps and unique numbers of the snapshot, as its clones do.
	// A boot ID that repeats comes with PIDs and unique numbers that repeat: Start
	// alone tells the boots apart, and nothing does where it was recorded in another
	// time namespace. Two boots can have the same derived ID, see package bootid: an
	// equal start stamp is then proof only as far as it does not repeat.
	Boot bootid.ID

	// Namespace is the recorder's view of PIDs. It is zero on systems without
	// namespaces. Numbers of another PID namespace cannot be looked up: Unknown,
	// unless [Options.ExclusiveNamespace] is set.
	Namespace Namespace

	// Start is the kernel's own stamp of the process's start; 0 when not
	// recorded. No step of the clock moves it. Equal stamps mean something within
	// Boot only; an unequal one, read in the same time namespace, is never that of
	// the same process.
	//
	// Linux: field 22 of /proc/PID/stat, in clock ticks of 10 ms since boot
	// as the reader's time namespace counts them (proc_pid_stat(5)). Without Unique,
	// a PID that is reused within the tick in which the recorded process started
	// looks alive.
	// Windows: the creation time of GetProcessTimes, a FILETIME in 100 ns
	// since 1601.
	// FreeBSD and OpenBSD: microseconds since boot, ki_start and p_ustart less
	// kern.boottime. Stamps of one process may differ by one on OpenBSD.
	// macOS, NetBSD and DragonFly: microseconds since 1970, p_starttime,
	// p_ustart and kp_start. These, and that of Windows, are wall times that were
	// noted at the start: a clock that was set back can repeat them in principle.
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
	//
	// Only the same user, and root, can read it. A process that was forked and has
	// executed no program shows the environment of its parent: a missing marker
	// proves nothing there. gVisor does not tell such processes from others; their
	// marker looks missing. Except on Linux a process may edit the very environment
	// that is read, and a missing marker proves nothing.
	Marker string

	// NotBefore and NotAfter bound the wall time of the process's start, for
	// rows that recorded nothing better: typically NotAfter is the time at
	// which the row was written, when the process was already running. The
	// zero time is no bound. They are held against the start with a tolerance
	// of two seconds, and a wall clock that was stepped since makes them
	// wrong: record the other fields where you can.
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
	if id.PID != 0 { // the usual case, quickly
		return false
	}
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
	var digits [checkDigits]byte
	for i := range digits {
		digits[i] = "0123456789abcdef"[sum>>(4*checkDigits-4)]
		sum <<= 4
	}
	return append(b, digits[:]...)
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
// For an Identity that no process can have, String returns the error of
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

// fields is the table of the fields of the text, in their order: each has a key, and
// a kind that says how it is written and read. A new field of evidence is a line at its
// end; versions that do not know it carry it along in unknown. What is written is
// appended to b.
func (id *Identity) fields(c *codec, b []byte) []byte {
	b = c.pid(b, " pid=", &id.PID)
	b = c.boot(b, " boot=", &id.Boot)
	b = c.number(b, " pidns=", &id.Namespace.PID)
	b = c.number(b, " pidnsid=", &id.Namespace.PIDUnique)
	b = c.number(b, " init=", &id.Namespace.InitStart)
	b = c.number(b, " timens=", &id.Namespace.Time)
	b = c.number(b, " timensid=", &id.Namespace.TimeUnique)
	b = c.number(b, " start=", &id.Start)
	b = c.number(b, " unique=", &id.Unique)
	b = c.text(b, " marker=", &id.Marker)
	b = c.time(b, " notbefore=", &id.NotBefore)
	b = c.time(b, " notafter=", &id.NotAfter)
	return b
}

// codec reads the fields of an Identity, or else writes them. It calls no function
// through a variable and keeps no buffer, so that neither need be on the heap.
type codec struct {
	reading bool
	rest    string // what is still to be read, from the space before a field
	index   uint   // of the field in the table
	seen    uint   // a bit for each field that was read
	bad     string // the first field that is none
}

func (c *codec) pid(b []byte, key string, pid *int) []byte {
	if !c.reading {
		return strconv.AppendInt(append(b, key...), int64(*pid), 10)
	}
	if value, ok := c.take(key); ok {
		n, ok := parseUint(value)
		*pid = int(n)
		c.check(key, value, ok && n <= maxPID)
	}
	return b
}

func (c *codec) boot(b []byte, key string, id *bootid.ID) []byte {
	if !c.reading {
		if id.IsZero() {
			return b
		}
		b = append(append(append(b, key...), id.Quality.String()...), '/')
		return append(append(append(b, id.Machine...), '/'), id.Boot...)
	}
	if value, ok := c.take(key); ok {
		var err error
		*id, err = bootid.Parse(value)
		c.check(key, value, err == nil && !id.IsZero())
	}
	return b
}

func (c *codec) number(b []byte, key string, n *uint64) []byte {
	if !c.reading {
		if *n == 0 {
			return b
		}
		return strconv.AppendUint(append(b, key...), *n, 10)
	}
	if value, ok := c.take(key); ok {
		*n, ok = parseUint(value)
		c.check(key, value, ok)
	}
	return b
}

func (c *codec) text(b []byte, key string, text *string) []byte {
	if !c.reading {
		if *text == "" {
			return b
		}
		return appendEscaped(append(b, key...), *text)
	}
	if value, ok := c.take(key); ok {
		*text, ok = unescape(value)
		c.check(key, value, ok && value != "")
	}
	return b
}

func (c *codec) time(b []byte, key string, t *time.Time) []byte {
	if !c.reading {
		if t.IsZero() {
			return b
		}
		return t.UTC().AppendFormat(append(b, key...), time.RFC3339Nano)
	}
	if value, ok := c.take(key); ok {
		*t, ok = parseTime(value)
		c.check(key, value, ok)
	}
	return b
}

// take takes the value of the next field of the table, if the rest begins with it.
func (c *codec) take(key string) (value string, ok bool) {
	c.index++
	if !strings.HasPrefix(c.rest, key) {
		return "", false
	}
	return c.takeValue(key), c.bad == ""
}

func (c *codec) takeValue(key string) (value string) {
	value = c.next()[len(key):]
	bit := uint(1) << c.index
	twice := c.seen&bit != 0
	c.seen |= bit
	c.check(key, value, !twice && isPrintable(value))
	return value
}

// next takes what the rest begins with, up to the space before the field that follows.
func (c *codec) next() string {
	text := c.rest
	if end := strings.IndexByte(text[1:], ' '); end >= 0 {
		text = text[:1+end]
	}
	c.rest = c.rest[len(text):]
	return text
}

// check notes a field that is none.
func (c *codec) check(key, value string, ok bool) {
	if !ok && c.bad == "" {
		c.bad = key + value
	}
}

// takeUnknown takes a field that a newer version may have written. A check ends a text
// and is no field.
func (c *codec) takeUnknown() string {
	text := c.next()
	key, _, ok := strings.Cut(text[1:], "=")
	c.check("", text, ok && key != "" && key != "check" && isPrintable(text[1:]))
	return text
}

func (id *Identity) append(b []byte) []byte {
	var c codec
	b = id.fields(&c, append(b, identityPrefix...))
	b = append(b, id.unknown...)
	return appendCheck(append(b, checkField...), b)
}

// appendEscaped writes s with every byte that is no printable ASCII, every
// space and every percent sign as %XX.
func appendEscaped(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	plain := 0
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '%' {
			b = append(append(b, s[plain:i]...), '%', hex[c>>4], hex[c&15])
			plain = i + 1
		}
	}
	return append(b, s[plain:]...)
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
// are kept and written out again by String; a text whose whole format is newer is
// refused, and the error says so. Errors match [ErrInvalid], name the field, and quote
// at most the start of a text.
func Parse(text string) (Identity, error) {
	id, err := parse(strings.TrimSuffix(text, "\n"))
	if err != nil {
		return Identity{}, fmt.Errorf("liveness: parse identity %s: %w", quoteStart(text), err)
	}
	return id, nil
}

// quoteStart quotes s, cut to a length that fits an error message.
func quoteStart(s string) string {
	const maxQuoted = 80
	if len(s) > maxQuoted {
		return strconv.QuoteToASCII(s[:maxQuoted]) + "…"
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
			return Identity{}, fmt.Errorf("%w: %w: %s", ErrInvalid, errNewerVersion, quoteStart(version))
		}
		return Identity{}, fmt.Errorf("%w: it does not start with %q", ErrInvalid, identityPrefix)
	}
	text, err := cutCheck(text)
	if err != nil {
		return Identity{}, err
	}
	var id Identity
	var unknown []byte
	c := codec{reading: true, rest: text[len(identityPrefix):]}
	for c.rest != "" && c.bad == "" {
		before := len(c.rest)
		c.index = 0
		id.fields(&c, nil) // takes all that is in order, as a rule everything
		if len(c.rest) == before {
			unknown = append(unknown, c.takeUnknown()...)
		}
	}
	if c.bad != "" {
		return Identity{}, fmt.Errorf("%w: field %s", ErrInvalid, quoteStart(c.bad[1:]))
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

// parseUint reads a number as it is written: positive, no sign, no
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
