package liveness_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

// oldKernelRefused is the exit code where that cannot be had.
const oldKernelRefused = 77

// These tests run again as on older kernels.
func TestOlderKernelsGiveTheSameVerdicts(t *testing.T) {
	t.Parallel()
	if os.Getenv(oldKernelVariable) != "" {
		return
	}
	const all = "Group|Process|Child|Zombie|Thread|Exec|User|Marker|Old|Namespace|Procfs|Root|Capture|Self"
	for _, test := range []struct {
		name   string
		kernel string
		run    string
	}{
		{"Linux before 6.9: no signals to groups by pidfd", "no pidfd groups", "Group"},
		{"Linux before 6.9: no pidfs", "no pidfs", all},
		{"Linux before 5.3: no pidfds", "no pidfd", all},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), proctest.Binary(), "-test.timeout=5m", "-test.run="+test.run,
				"-test.skip=Example|Fuzz|Reused|Remember|WithoutProcfs|ManyWatched|ManyWaits") // those that look before they imitate, or need a pidfd
			cmd.Env = append(os.Environ(), oldKernelVariable+"="+test.kernel, "GORACE=atexit_sleep_ms=0")
			output, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			switch {
			case errors.As(err, &exit) && exit.ExitCode() == oldKernelRefused:
				proctest.Skip(t, "%s", output)
			case err != nil:
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}

// imitateOldKernel makes pidfs, or pidfds at all, be missing for this process
// and its children.
func imitateOldKernel(kernel string) error {
	switch kernel {
	case "":
		return nil
	case "no pidfs":
		liveness.WithoutPidfs()
		return nil
	case "no pidfd groups":
		return refuseWith(unix.EINVAL, unix.BPF_JGE, 1, unix.SYS_PIDFD_SEND_SIGNAL) // flags
	case "no pidfd":
		return refuse(unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_SEND_SIGNAL)
	default:
		return fmt.Errorf("no kernel called %q", kernel)
	}
}

// refuse makes system calls fail with ENOSYS.
func refuse(calls ...uint32) error { return refuseWith(unix.ENOSYS, unix.BPF_JGE, 0, calls...) }

// refuseWith makes system calls fail whose fourth argument compares so with k
// (seccomp(2)).
func refuseWith(errno unix.Errno, comparison uint16, k uint32, calls ...uint32) error {
	const number, fourth = 0, 16 + 3*8 // in seccomp_data; its lower half
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number}}
	for _, call := range calls {
		filter = append(filter,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 4},
			unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: fourth},
			unix.SockFilter{Code: unix.BPF_JMP | comparison | unix.BPF_K, K: k, Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program))); errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}
