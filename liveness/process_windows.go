package liveness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/rollcall-go/rollcall/internal/pinned"
)

// processHandle is a process held by a handle, which keeps its PID too.
type processHandle struct {
	pid    int
	closed chan struct{}

	mu     sync.Mutex
	handle windows.Handle // 0 when closed
	// ended are the handles of a tree that was terminated.
	ended []windows.Handle
}

func (v *windowsView) open(id *Identity) (pinned.Process, error) {
	handle, err := v.openHandle(id, queryAccess|windows.PROCESS_TERMINATE)
	if err != nil {
		return nil, err
	}
	return &processHandle{pid: id.PID, closed: make(chan struct{}), handle: handle}, nil
}

// openHandle opens the recorded process. It is judged by its PID while the
// handle holds that.
func (v *windowsView) openHandle(id *Identity, access uint32) (windows.Handle, error) {
	handle, err := openExactly(id.PID, access)
	verdict := v.check(id)
	if verdict.State != Alive {
		if err == nil {
			windows.CloseHandle(handle)
		}
		return 0, &verdictError{verdict}
	}
	return handle, err
}

// with calls f with the handle, which cannot be closed meanwhile.
func (p *processHandle) with(f func(windows.Handle) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.handle == 0 {
		return os.ErrClosed
	}
	return f(p.handle)
}

func (p *processHandle) Signal(sig os.Signal) error {
	return p.with(func(handle windows.Handle) error {
		if sig != os.Kill {
			return unsupportedSignal(sig)
		}
		return end(handle)
	})
}

// unsupportedSignal says no to a signal. A console event reaches a whole console
// group, or where the number is none's, others on the console too
// (https://learn.microsoft.com/windows/console/generateconsolectrlevent).
func unsupportedSignal(sig os.Signal) error {
	return fmt.Errorf("signal %v on Windows: %w", sig, errors.ErrUnsupported)
}

// end terminates a process. Of one that has exited meanwhile, Windows says that
// access is denied.
func end(handle windows.Handle) error {
	errGone := fmt.Errorf("%w: it has exited", ErrNoProcess)
	if over, err := isOver(handle); err != nil {
		return err
	} else if over {
		return errGone
	}
	err := windows.TerminateProcess(handle, 1)
	if err == nil {
		return nil
	}
	if over, waitErr := isOver(handle); waitErr == nil && over {
		return errGone
	}
	return fmt.Errorf("TerminateProcess: %w", err)
}

func isOver(handle windows.Handle) (bool, error) {
	event, err := windows.WaitForSingleObject(handle, 0)
	if err != nil {
		return false, fmt.Errorf("WaitForSingleObject: %w", err)
	}
	return event == windows.WAIT_OBJECT_0, nil
}

func (p *processHandle) Wait(ctx context.Context) error {
	var own windows.Handle
	err := p.with(func(handle windows.Handle) (err error) {
		own, err = duplicate(handle)
		return err
	})
	if err != nil {
		return err
	}
	defer windows.CloseHandle(own)
	return waitExit(ctx, own, p.closed)
}

func duplicate(handle windows.Handle) (windows.Handle, error) {
	var own windows.Handle
	self := windows.CurrentProcess()
	if err := windows.DuplicateHandle(self, handle, self, &own, 0, false, windows.DUPLICATE_SAME_ACCESS); err != nil {
		return 0, fmt.Errorf("DuplicateHandle: %w", err)
	}
	return own, nil
}

// waitExit waits until the process has exited. The handle stays open meanwhile.
func waitExit(ctx context.Context, handle windows.Handle, closed <-chan struct{}) error {
	if over, err := isOver(handle); over || err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	exited := make(chan struct{})
	stop, err := onExit(handle, func() { close(exited) })
	if err != nil {
		return err
	}
	defer stop()
	select {
	case <-exited:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-closed:
		return os.ErrClosed
	}
}

func (p *processHandle) WaitGroup(ctx context.Context) error {
	p.mu.Lock()
	ended := p.ended
	p.ended = nil
	p.mu.Unlock()
	defer closeAll(ended)
	if err := p.Wait(ctx); err != nil {
		return err
	}
	for _, handle := range ended {
		if err := waitExit(ctx, handle, p.closed); err != nil {
			return err
		}
	}
	return nil
}

func (p *processHandle) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.handle == 0 {
		return os.ErrClosed
	}
	close(p.closed)
	closeAll(append(p.ended, p.handle))
	p.handle, p.ended = 0, nil
	return nil
}

func closeAll(handles []windows.Handle) {
	for _, handle := range handles {
		windows.CloseHandle(handle)
	}
}

// The thread pool of the process waits for 63 handles with each thread
// (https://learn.microsoft.com/windows/win32/api/threadpoollegacyapiset/nf-threadpoollegacyapiset-registerwaitforsingleobject).
var (
	kernel32                    = windows.NewLazySystemDLL("kernel32.dll")
	registerWaitForSingleObject = kernel32.NewProc("RegisterWaitForSingleObject")
	unregisterWaitEx            = kernel32.NewProc("UnregisterWaitEx")

	// exitFuncs are the functions to call, by the number that a callback gets: it
	// may not get a pointer.
	exitFuncs    sync.Map
	lastExitFunc struct {
		sync.Mutex
		number uintptr
	}
	// exitCallback is made once: a program may make some 2,000.
	exitCallback = sync.OnceValue(func() uintptr {
		return syscall.NewCallback(func(number, timedOut uintptr) uintptr {
			if f, ok := exitFuncs.LoadAndDelete(number); ok {
				f.(func())()
			}
			return 0
		})
	})
)

// onExit calls f, which must not block, once the process has exited, unless stop
// was called before. When stop returns, f does not run any more, and the handle
// may be closed.
func onExit(handle windows.Handle, f func()) (stop func(), err error) {
	lastExitFunc.Lock()
	lastExitFunc.number++
	number := lastExitFunc.number
	lastExitFunc.Unlock()
	exitFuncs.Store(number, f)
	const infinite, executeInWaitThread, executeOnlyOnce = 0xffffffff, 4, 8
	var wait windows.Handle
	ok, _, err := registerWaitForSingleObject.Call(uintptr(unsafe.Pointer(&wait)), uintptr(handle), exitCallback(), number, infinite, executeInWaitThread|executeOnlyOnce)
	if ok == 0 {
		exitFuncs.Delete(number)
		return nil, fmt.Errorf("RegisterWaitForSingleObject: %w", err)
	}
	return func() {
		exitFuncs.Delete(number)
		// With this for an event, it returns when the callback has.
		_, _, _ = unregisterWaitEx.Call(uintptr(wait), uintptr(windows.InvalidHandle))
	}, nil
}
