package kinfo_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/kinfo"
)

// A record of testdata, and the system and machine it is of.
type record struct {
	file, goos, goarch string
	want               kinfo.Process
}

const started = 1763978645123456

var (
	live      = kinfo.Process{PID: 4711, Parent: 4242, Start: started}
	zombie    = kinfo.Process{PID: 4711, Parent: 4242, Start: started, Exited: true}
	noStart   = kinfo.Process{PID: 4711, Parent: 4242, Exited: true}
	executing = kinfo.Process{PID: 4711, Parent: 4242}
)

var records = []record{
	{"darwin.live", "darwin", "arm64", live},
	{"darwin.live", "darwin", "amd64", live},
	{"darwin.zombie", "darwin", "arm64", zombie},
	{"freebsd.live", "freebsd", "amd64", live},
	{"freebsd.live", "freebsd", "arm64", live},
	{"freebsd.live", "freebsd", "riscv64", live},
	{"freebsd.zombie", "freebsd", "amd64", zombie},
	{"freebsd-386.live", "freebsd", "386", live},
	{"freebsd-386.zombie", "freebsd", "386", zombie},
	{"freebsd-arm.live", "freebsd", "arm", live},
	{"freebsd-arm.zombie", "freebsd", "arm", zombie},
	{"dragonfly-960.live", "dragonfly", "amd64", live},
	{"dragonfly-976.live", "dragonfly", "amd64", live},
	{"dragonfly-992.live", "dragonfly", "amd64", live},
	{"dragonfly-992.zombie", "dragonfly", "amd64", zombie},
	{"netbsd.live", "netbsd", "amd64", live},
	{"netbsd.live", "netbsd", "386", live},
	{"netbsd.live", "netbsd", "arm", live},
	{"netbsd.zombie", "netbsd", "arm64", noStart},
	{"netbsd.exec", "netbsd", "amd64", executing},
	{"openbsd.live", "openbsd", "amd64", live},
	{"openbsd.live", "openbsd", "arm", live},
	{"openbsd.zombie", "openbsd", "amd64", noStart},
	{"openbsd-386.live", "openbsd", "386", live},
	{"openbsd-386.zombie", "openbsd", "386", noStart},
	{"openbsd-ppc64.live", "openbsd", "ppc64", live},
	{"openbsd-ppc64.zombie", "openbsd", "ppc64", noStart},
}

func (r record) read(t testing.TB) (kinfo.System, []byte) {
	t.Helper()
	system, ok := kinfo.Of(r.goos, r.goarch)
	bytes, err := os.ReadFile(filepath.Join("testdata", r.file))
	if !ok || err != nil {
		t.Fatal(r.goos, r.goarch, ok, err)
	}
	return system, bytes
}

func TestRecordOfEachSystem(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, r := range records {
		c.Run(r.file+" on "+r.goos+"/"+r.goarch, func(c *qt.C) {
			system, bytes := r.read(c)
			process, err := system.Decode(bytes)
			c.Assert(err, qt.IsNil)
			c.Check(process, qt.Equals, r.want)
			again, err := system.Decode(system.Encode(process))
			c.Assert(err, qt.IsNil)
			c.Check(again, qt.Equals, r.want)
		})
	}
}

func TestRecordCutShortIsMalformed(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, r := range records {
		system, bytes := r.read(t)
		for n := range bytes {
			process, err := system.Decode(bytes[:n])
			if (r.goos == "dragonfly") && (n == 960 || n == 976) { // an older kernel's
				continue
			}
			c.Assert(err, qt.ErrorIs, kinfo.ErrMalformed, qt.Commentf("%s: %d bytes", r.file, n))
			c.Assert(process, qt.Equals, kinfo.Process{})
		}
		_, err := system.Decode(append(bytes, 0))
		c.Assert(err, qt.ErrorIs, kinfo.ErrMalformed)
	}
}

func TestRecordThatNoKernelWritesIsMalformed(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, r := range records {
		if r.want != live {
			continue
		}
		system, _ := r.read(t)
		for _, process := range []kinfo.Process{{PID: -1, Start: started}, {PID: 1, Start: 1 << 61}} {
			bytes := system.Encode(process)
			decoded, err := system.Decode(bytes)
			if err == nil { // seconds of 32 bits hold no impossible value
				c.Check(process.PID, qt.Equals, 1)
				continue
			}
			c.Check(err, qt.ErrorIs, kinfo.ErrMalformed)
			c.Check(decoded, qt.Equals, kinfo.Process{})
		}
	}
	freebsd, bytes := record{file: "freebsd.live", goos: "freebsd", goarch: "amd64"}.read(t)
	bytes[0]++ // its own size
	_, err := freebsd.Decode(bytes)
	c.Check(err, qt.ErrorMatches, "malformed process record: 1088 bytes that say they are 1089")
}

func TestOtherSystemsHaveNoRecords(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, goos := range []string{"linux", "windows", "illumos", "aix", "ios", "js", ""} {
		_, ok := kinfo.Of(goos, "arm64")
		c.Check(ok, qt.IsFalse, qt.Commentf("%s", goos))
	}
}

func TestListOfProcesses(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, r := range records {
		system, bytes := r.read(t)
		list := slices.Concat(bytes, bytes, bytes)
		split, err := system.Split(list)
		c.Assert(err, qt.IsNil, qt.Commentf("%s", r.file))
		c.Assert(split, qt.HasLen, 3)
		for _, one := range split {
			process, err := system.Decode(one)
			c.Assert(err, qt.IsNil)
			c.Assert(process, qt.Equals, r.want)
		}
		for _, list := range [][]byte{nil, list[:len(list)-1], append(list, 0)} {
			split, err := system.Split(list)
			c.Assert(err, qt.ErrorIs, kinfo.ErrMalformed)
			c.Assert(split, qt.IsNil)
		}
		name, args := system.List()
		switch r.goos {
		case "netbsd":
			c.Assert([]any{name, args}, qt.DeepEquals, []any{"kern.proc2", []int{0, 0, 680, 1 << 20}})
		case "openbsd":
			c.Assert([]any{name, args[2]}, qt.DeepEquals, []any{"kern.proc", len(bytes)})
		default:
			c.Assert(name, qt.Equals, "kern.proc.all")
		}
	}
}

// The kernel is asked by the numbers of its header.
func TestQuery(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		goos, goarch string
		name         string
		args         []int
	}{
		{"darwin", "arm64", "kern.proc.pid", []int{42}},
		{"freebsd", "amd64", "kern.proc.pid", []int{42}},
		{"dragonfly", "amd64", "kern.proc.pid", []int{42}},
		{"netbsd", "amd64", "kern.proc2", []int{1, 42, 680, 1}},
		{"openbsd", "amd64", "kern.proc", []int{1, 42, 616, 1}},
		{"openbsd", "386", "kern.proc", []int{1, 42, 612, 1}},
	} {
		system, ok := kinfo.Of(test.goos, test.goarch)
		c.Assert(ok, qt.IsTrue)
		name, args := system.Query(42)
		c.Check(name, qt.Equals, test.name)
		c.Check(args, qt.DeepEquals, test.args)
		name, args, ok = system.InitThread()
		c.Check(ok, qt.Equals, test.goos == "openbsd")
		if ok {
			c.Check(name, qt.Equals, "kern.proc")
			c.Check(args, qt.DeepEquals, []int{1 | 0x40000000, 1, test.args[2], 2})
		}
	}
}

func TestThreadOfInit(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, r := range []record{{file: "openbsd.init", goos: "openbsd", goarch: "arm64"}, {file: "openbsd-386.init", goos: "openbsd", goarch: "386"}} {
		system, bytes := r.read(t)
		process, thread, err := system.DecodeInitThread(bytes)
		c.Assert(err, qt.IsNil)
		c.Check(process, qt.Equals, kinfo.Process{PID: 1, Start: 1763900003250001})
		c.Check(thread, qt.Equals, uint32(412345))
		for n := range bytes {
			_, thread, err := system.DecodeInitThread(bytes[:n])
			c.Assert(err, qt.ErrorIs, kinfo.ErrMalformed)
			c.Assert(thread, qt.Equals, uint32(0))
		}
	}
}

func TestBootTimeOfTimespecAndTimeval(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for goos, want := range map[string]int64{
		"darwin": 100123456, "freebsd": 100123456, "openbsd": 100123456, // timeval
		"netbsd": 100000123, "dragonfly": 100000123, // timespec
	} {
		system, _ := kinfo.Of(goos, "amd64")
		c.Check(kinfo.BootMicros(&system, 100, 123456), qt.Equals, want, qt.Commentf("%s", goos))
	}
}

func FuzzDecode(f *testing.F) {
	for i, r := range records {
		_, bytes := r.read(f)
		f.Add(uint8(i), bytes)
	}
	f.Fuzz(func(t *testing.T, i uint8, bytes []byte) {
		r := records[int(i)%len(records)]
		system, _ := kinfo.Of(r.goos, r.goarch)
		process, err := system.Decode(bytes)
		if err != nil && process != (kinfo.Process{}) || process.PID < 0 || process.Start < 0 {
			t.Fatal(process, err)
		}
		_, thread, err := system.DecodeInitThread(bytes)
		if err != nil && thread != 0 {
			t.Fatal(thread, err)
		}
	})
}
