package liveness_test

import (
	"fmt"
	"os"
	"testing"

	qt "github.com/frankban/quicktest"
	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

// checks are the ways a check can go, for benchmarks and for counting
// allocations.
func checks(t testing.TB) []check {
	child := proctest.Start(t, proctest.Command("hold"))
	alive := captured(t, child)
	gone := proctest.Start(t, proctest.Command("hold"))
	dead := captured(t, gone)
	gone.Kill()
	reused := alive
	reused.Start, reused.Unique = reused.Start+1, reused.Unique^1
	rebooted := alive
	rebooted.Boot.Boot = boot2
	return []check{
		{"alive", alive},
		{"alive by start", withoutUnique(alive)},
		{"dead", dead},
		{"dead by start", withoutUnique(dead)},
		{"reused", reused},
		{"reused by start", withoutUnique(reused)},
		{"rebooted", rebooted},
		{"no evidence", pidOnly(alive)},
	}
}

type check struct {
	name string
	id   liveness.Identity
}

// A path error is allocated where a file of a process is missing.
func TestCheckDoesNotAllocate(t *testing.T) {
	c := qt.New(t)
	if proctest.Race {
		t.Skip("the race detector allocates")
	}
	system := newLiveness(t, liveness.Options{})
	for _, check := range checks(t) {
		if check.name == "dead by start" || check.name == "dead" && !liveness.HasPidfs() {
			continue
		}
		allocs := testing.AllocsPerRun(100, func() { system.Check(check.id) })
		c.Check(allocs, qt.Equals, 0.0, qt.Commentf(check.name))
	}
}

func BenchmarkCheck(b *testing.B) {
	system := newLiveness(b, liveness.Options{})
	for _, check := range checks(b) {
		b.Run(check.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				system.Check(check.id)
			}
		})
	}
}

// BenchmarkFloor makes the system calls that a check is made of, and nothing
// else.
func BenchmarkFloor(b *testing.B) {
	child := proctest.Start(b, proctest.Command("hold"))
	pid := child.PID()
	b.Run("pidfd_open fstat poll close", func(b *testing.B) {
		for b.Loop() {
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				b.Fatal(err)
			}
			var stat unix.Stat_t
			fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			err = unix.Fstat(fd, &stat)
			_, pollErr := unix.Poll(fds[:], 0)
			unix.Close(fd)
			// A poll that has nothing to tell may end with EINTR.
			if err != nil || pollErr != nil && pollErr != unix.EINTR {
				b.Fatal(err, pollErr)
			}
		}
	})
	b.Run("pidfd_open of nobody", func(b *testing.B) {
		for b.Loop() {
			if _, err := unix.PidfdOpen(1<<22-1, 0); err != unix.ESRCH {
				b.Fatal(err)
			}
		}
	})
	b.Run("open read close of stat", func(b *testing.B) {
		path := fmt.Sprintf("/proc/%d/stat", pid)
		var buf [512]byte
		for b.Loop() {
			fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				b.Fatal(err)
			}
			_, err = unix.Read(fd, buf[:])
			unix.Close(fd)
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkIdentity(b *testing.B) {
	id, err := liveness.Capture(os.Getpid())
	if err != nil {
		b.Fatal(err)
	}
	id.Marker = "01a20cd1-5f0e-7a43-9a3c-0f6c3a1f9b11"
	text := id.String()
	b.Run("format", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = id.String()
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := liveness.Parse(text); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCapture(b *testing.B) {
	child := proctest.Start(b, proctest.Command("hold"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := liveness.CaptureProcess(child.Process); err != nil {
			b.Fatal(err)
		}
	}
}
