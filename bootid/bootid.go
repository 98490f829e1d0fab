// Package bootid tells which boot of which machine this is, and how long that
// boot has been awake.
//
//	id, err := bootid.Current()
//	// Keep id.String() in a file or a column. Later, in any program:
//	recorded, err := bootid.Parse(text)
//	now, err := bootid.Current()
//	switch recorded.Compare(now) {
//	case bootid.SameBoot:
//	case bootid.OtherBoot: // the recorded one is over: its processes are gone
//	default: // another machine, or nothing is proven
//	}
//
// An [ID] is never made up: what cannot be read is empty, and two empty boots are
// never the same one. The machine part is a keyed hash; the machine ID of the
// operating system does not leave this package. A boot ID has a [Quality], which says
// how much it proves.
//
// [Current] and [Awake] ask /proc on Linux and Android (probe_linux.go), sysctl(3) on
// macOS, FreeBSD, OpenBSD, NetBSD and DragonFly (sysctl.go, probe_sysctl.go), and
// Windows (nt.go, probe_windows.go). On any other system they return an error that
// matches [errors.ErrUnsupported].
//
// Errors match [ErrInvalid] where a text or an ID is not valid, and otherwise wrap that
// of the system call or file that failed.
package bootid

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ErrInvalid is returned when a text is not an ID, or when an ID holds parts
// that have no text.
var ErrInvalid = errors.New("invalid boot ID")

// Quality says how far the boot part of an [ID] can be trusted. The zero value
// belongs to an ID without a boot part.
type Quality uint8

const (
	// Derived is computed from other values, such as the start of the first
	// process. Equal derived values count as the same boot, though two boots can have
	// one by chance; unequal ones prove nothing.
	Derived Quality = iota + 1
	// Given was put over the kernel's own by a container manager: LXC and
	// systemd-nspawn bind a file over the kernel's, which then does not lie on
	// procfs. It names one run of one container. Unequal given values are
	// different runs, of one container or of two that run at the same time. A given
	// and a native value may be two views of one boot, seen from two places in one
	// container: together they prove nothing.
	Given
	// Native is the kernel's own: unchanged by clock steps and by suspend, and
	// random, but for Windows, where it counts. Unequal native values are
	// different boots.
	Native
)

// String returns "none", "derived", "given" or "native".
func (q Quality) String() string {
	switch q {
	case Derived:
		return "derived"
	case Given:
		return "given"
	case Native:
		return "native"
	default:
		return "none"
	}
}

// ID names one boot of one machine. IDs can be compared with ==, but == also
// calls two unreadable IDs equal: use [ID.Compare] to decide anything.
//
// A virtual machine restored from a snapshot, and a clone of it, carry the boot ID of
// the original. A container usually sees the boot ID of its host; LXC and
// systemd-nspawn give it one of its own, which is [Given] here, and a sandbox with a
// kernel of its own, such as gVisor's, has that kernel's. A systemd soft reboot and a
// container restart end processes and leave the boot ID as it is. Some small machines
// repeat a boot ID, because they have no randomness when they start. Package lifecycle
// allows for these.
//
// The zero ID says nothing about machine or boot.
type ID struct {
	// Machine is the machine ID of the operating system, hashed with a key of
	// this package, in lower-case hexadecimal. It is empty where the system
	// has none.
	Machine string
	// Boot is the boot. On Linux it is the UUID of
	// /proc/sys/kernel/random/boot_id (random(4)), on macOS that of
	// kern.bootsessionuuid, on FreeBSD that of kern.boot_id, in one form: lower
	// case, with dashes. Elsewhere it is a number with a word before it, such
	// as "counter-24". Any other form is invalid, see [ID.Valid]; [New] makes
	// this one out of the others. It is empty when it could not be read.
	Boot string
	// Quality is the quality of Boot.
	Quality Quality
}

// IsZero reports whether id says nothing at all.
func (id ID) IsZero() bool { return id == ID{} }

// Relation is what two IDs say about each other.
type Relation uint8

const (
	// Incomparable means that nothing is proven: a boot is unreadable, an ID is
	// not valid, the two are of different quality, or both are derived and
	// differ.
	Incomparable Relation = iota
	// SameBoot means one boot of one machine.
	SameBoot
	// OtherBoot means two boots of one machine. One of them is over.
	OtherBoot
	// OtherMachine means two machines. Nothing follows about either boot.
	OtherMachine
)

// String returns the relation in words.
func (r Relation) String() string {
	switch r {
	case SameBoot:
		return "same boot"
	case OtherBoot:
		return "other boot"
	case OtherMachine:
		return "other machine"
	default:
		return "incomparable"
	}
}

// Compare tells how two IDs relate. A machine that is missing on either side
// counts as the same machine, because a machine without a machine ID has no
// better way to know itself again. Machines of which one or both have none, or
// that were cloned with theirs, are therefore not told apart: where they share
// records, the records need an owner.
//
// An equal native or given UUID is the same boot, whatever the machine IDs are: it
// has 122 random bits, while machine IDs are part of images, differ between a
// container and its host, and are made anew while a machine runs. Two unequal given
// ones are two runs, and [OtherBoot], but of two containers both can go on: package
// liveness takes them for no proof. A UUID and a counter are of two systems, and
// Incomparable.
//
// An ID that is not [ID.Valid] is Incomparable with any other.
func (id ID) Compare(other ID) Relation {
	if !id.Valid() || !other.Valid() {
		return Incomparable
	}
	equal := id.Boot == other.Boot && id.Quality == other.Quality && id.Boot != ""
	counts, otherCounts := strings.HasPrefix(id.Boot, counterPrefix), strings.HasPrefix(other.Boot, counterPrefix)
	switch {
	case equal && id.Quality != Derived && !counts:
		return SameBoot
	case id.Machine != "" && other.Machine != "" && id.Machine != other.Machine:
		return OtherMachine
	case equal:
		return SameBoot
	case id.Boot == "" || other.Boot == "" || id.Quality != other.Quality || id.Quality == Derived, counts != otherCounts:
		return Incomparable
	default:
		return OtherBoot
	}
}

// New returns the native ID of a boot whose boot ID was read elsewhere than by
// [Current]: from /proc/sys/kernel/random/boot_id, from the _BOOT_ID of the
// systemd journal, from kern.bootsessionuuid. It takes a UUID in upper or lower
// case, with dashes or without, with a newline at its end or without. The
// machine is left empty, and so counts as this one. The error matches
// [ErrInvalid].
func New(boot string) (ID, error) {
	text := strings.TrimSuffix(boot, "\n")
	id, ok := parseUUID([]byte(text), len(text))
	if !ok || len(text) != 36 && len(text) != 32 {
		return ID{}, fmt.Errorf("bootid: %w: no UUID: %q", ErrInvalid, boot)
	}
	return ID{Boot: id.String(), Quality: Native}, nil
}

// String returns the ID as one line without spaces, "quality/machine/boot",
// which [Parse] reads. The zero ID is the empty string.
func (id ID) String() string {
	if id.IsZero() {
		return ""
	}
	return id.Quality.String() + "/" + id.Machine + "/" + id.Boot
}

// Parse reads the text of [ID.String]. The empty string is the zero ID. Its
// errors match [ErrInvalid].
func Parse(text string) (ID, error) {
	id, ok := parse(text)
	if !ok {
		return ID{}, fmt.Errorf("bootid: parse %q: %w", text, ErrInvalid)
	}
	return id, nil
}

func parse(text string) (ID, bool) {
	if text == "" {
		return ID{}, true
	}
	quality, rest, ok := strings.Cut(text, "/")
	if !ok {
		return ID{}, false
	}
	var id ID
	switch quality {
	case "none":
	case "derived":
		id.Quality = Derived
	case "given":
		id.Quality = Given
	case "native":
		id.Quality = Native
	default:
		return ID{}, false
	}
	id.Machine, id.Boot, ok = strings.Cut(rest, "/")
	if !ok || id.IsZero() || !id.Valid() {
		return ID{}, false
	}
	return id, true
}

// Valid reports whether id is the zero ID or has the form in which this package
// writes IDs. A Given or Native Boot is a UUID in lower case with dashes; a
// Native one can also be the counter of Windows, such as "counter-24". Machine
// and a Derived Boot are printable ASCII without space and slash. Machine or
// Boot may be empty, but not both, and an empty Boot has no Quality.
func (id ID) Valid() bool { return id.IsZero() || isWord(id.Machine) && id.validBoot() }

func (id ID) validBoot() bool {
	switch {
	case id.Boot == "":
		return id.Quality == 0 && id.Machine != ""
	case id.Quality == Native:
		return isUUID(id.Boot) || isCounter(id.Boot)
	case id.Quality == Given:
		return isUUID(id.Boot)
	case id.Quality == Derived:
		return isWord(id.Boot)
	default:
		return false
	}
}

const nilUUID = "00000000-0000-0000-0000-000000000000"

// isUUID reports whether s is a UUID in the form of [uuid.UUID.String], and not
// the nil UUID.
func isUUID(s string) bool {
	if len(s) != len(nilUUID) || s == nilUUID {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case nilUUID[i] == '-':
			if c != '-' {
				return false
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return false
		}
	}
	return true
}

// isWord reports whether s is made of printable ASCII without space and slash.
func isWord(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '/' {
			return false
		}
	}
	return true
}

// counterPrefix stands before the counter of Windows.
const counterPrefix = "counter-"

// isCounter reports whether s is the counter of Windows, a positive number of
// 32 bits.
func isCounter(s string) bool {
	digits, ok := strings.CutPrefix(s, counterPrefix)
	n, err := strconv.ParseUint(digits, 10, 32)
	return ok && err == nil && digits[0] != '0' && n != 0
}

// MarshalText returns the text of [ID.String]. An ID that is not valid, see
// [ID.Valid], gives an error that matches [ErrInvalid].
func (id ID) MarshalText() ([]byte, error) {
	if !id.Valid() {
		return nil, fmt.Errorf("bootid: marshal %q: %w", id.String(), ErrInvalid)
	}
	return []byte(id.String()), nil
}

// UnmarshalText reads the text of [ID.String], as [Parse] does.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// Current returns the ID of the running boot. It reads the boot ID anew at
// each call and the machine ID once per process.
//
// When the boot ID cannot be read, Current returns the error together with an
// ID that holds the machine alone. A missing or malformed machine ID is not an
// error: Machine is empty then, as in most containers. With no descriptor left to read
// it, there is an error and no ID at all.
//
// Linux and Android: /proc/sys/kernel/random/boot_id, see random(4), and
// /etc/machine-id, see machine-id(5). The ID is [Given] if that file does not
// lie on a procfs (fstatfs(2)). Android denies it to applications since 8.0, and
// a procfs mounted with subset=pid has none.
//
// Windows: BootId, as KUSER_SHARED_DATA and PROCESS_TELEMETRY_ID_INFORMATION
// have it, if they agree. It is a counter on the disk: a disk that was restored or
// cloned repeats it, and one that keeps no changes repeats it at each boot. Otherwise
// the time at which the System process was created, which a step of the clock does not
// move, or without one BootTime less SleepTimeBias of SYSTEM_TIMEOFDAY_INFORMATION,
// Derived. What fast startup and hibernation do to them was not tried. The machine is
// MachineGuid of HKLM\SOFTWARE\Microsoft\Cryptography.
//
// macOS: kern.bootsessionuuid, and gethostuuid(2). FreeBSD: kern.boot_id, and
// kern.hostuuid. Elsewhere, and on FreeBSD before 13, what the sysctls of PID 1
// and kern.boottime give, Derived: the time from boot to the start of PID 1, on
// NetBSD and DragonFly the wall time of that start, on OpenBSD the ID of its
// thread. Two boots can have it in common by chance, and on NetBSD if the machine has
// no battery-backed clock and starts at the same time again. In a jail PID 1 is not
// shown: an error. The machine of OpenBSD is hw.uuid; NetBSD and DragonFly have none.
func Current() (ID, error) {
	id, err := current()
	if err != nil {
		return id, fmt.Errorf("bootid: %w", err)
	}
	return id, nil
}

// Awake returns how long the running boot has been running, time in suspend
// excluded. It never goes back within a boot and is not touched by steps of
// the wall clock. It is the clock of heartbeats, and only comparable within
// one boot.
//
// Linux and Android: CLOCK_MONOTONIC of clock_gettime(2), less the offset of
// this process's time namespace (time_namespaces(7)), so that two namespaces
// of one boot agree. The offset is read once per process. It cannot be read
// where the process has unshared a time namespace for its children before: an
// error.
//
// Windows: QueryUnbiasedInterruptTime. macOS: CLOCK_UPTIME_RAW. FreeBSD, OpenBSD
// and DragonFly: CLOCK_UPTIME. NetBSD: CLOCK_MONOTONIC. The manual pages or sources of
// macOS, FreeBSD and OpenBSD say that these stop in suspend; for the other two it is
// not known.
func Awake() (time.Duration, error) {
	d, err := awake()
	if err != nil {
		return 0, fmt.Errorf("bootid: read awake time: %w", err)
	}
	return d, nil
}
