package liveness

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/ntinfo"
)

// view is what a System is here.
type view = windowsView

// windowsView is the view of the processes of this machine.
type windowsView struct {
	scope
	// inContainer says that this process is in a container, in which those
	// outside of it are not shown.
	inContainer bool
}

func newView(options Options) (windowsView, error) {
	if options.Root != "" {
		return windowsView{}, fmt.Errorf("%w: Root %s: Windows has no procfs", errInvalidOptions, options.Root)
	}
	view := windowsView{inContainer: hasValue(registry.LOCAL_MACHINE, `SYSTEM\CurrentControlSet\Control`, "ContainerType")}
	view.scope = scope{
		exclusive:        options.ExclusiveNamespace,
		sameMachine:      options.SameMachine,
		markerVariable:   options.MarkerVariable,
		liveEnviron:      true,
		highestPID:       maxPID,
		bootsMayContinue: true,
		lastBoot:         new(atomic.Pointer[comparedBoot]),
	}
	view.boot, _ = bootid.Current() // unreadable: nothing is the same boot
	return view, nil
}

// hasValue reports whether a key of the registry has a value of the name, and
// that it has if this could not be found out.
func hasValue(root registry.Key, path, name string) bool {
	key, err := registry.OpenKey(root, path, registry.QUERY_VALUE)
	if err == nil {
		_, _, err = key.GetValue(name, nil)
		_ = key.Close()
	}
	return !errors.Is(err, registry.ErrNotExist)
}

// opened is a process that has a PID, and the handle that keeps it from losing
// it.
type opened struct {
	holder
	handle windows.Handle // 0 where it may not be opened
}

func (o opened) close() {
	if o.handle != 0 {
		windows.CloseHandle(o.handle)
	}
}

const queryAccess = windows.PROCESS_QUERY_LIMITED_INFORMATION | windows.SYNCHRONIZE

// open opens the process that has the PID. It returns errNobody if there is
// none.
func open(pid int) (opened, error) {
	handle, err := openExactly(pid, queryAccess)
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) { // it exists
		start, listErr := listedStart(pid)
		if listErr != nil {
			return opened{}, errors.Join(err, listErr)
		}
		return opened{holder: holder{start: start}}, nil
	}
	if err != nil {
		return opened{}, err
	}
	o, err := look(handle)
	if err != nil {
		windows.CloseHandle(handle)
	}
	return o, err
}

// openExactly opens the process that has the PID. Windows rounds a number down
// to a multiple of four and opens the process that has that one
// (https://devblogs.microsoft.com/oldnewthing/20080606-00/?p=22043).
func openExactly(pid int, access uint32) (windows.Handle, error) {
	handle, err := windows.OpenProcess(access, false, uint32(pid))
	if errors.Is(err, windows.ERROR_INVALID_PARAMETER) {
		return 0, errNobody
	}
	if err != nil {
		return 0, fmt.Errorf("OpenProcess: %w", err)
	}
	got, err := windows.GetProcessId(handle)
	if err == nil && got == uint32(pid) {
		return handle, nil
	}
	windows.CloseHandle(handle)
	if err != nil {
		return 0, fmt.Errorf("GetProcessId: %w", err)
	}
	return 0, errNobody
}

// look reads the evidence of the process behind a handle. The exit code does
// not tell whether it has exited: 259 is one too
// (https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-getexitcodeprocess).
func look(handle windows.Handle) (opened, error) {
	o := opened{handle: handle}
	var created, exited, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(handle, &created, &exited, &kernel, &user); err != nil {
		return opened{}, fmt.Errorf("GetProcessTimes: %w", err)
	}
	o.start = uint64(created.HighDateTime)<<32 | uint64(created.LowDateTime)
	o.unique = startKey(handle)
	event, err := windows.WaitForSingleObject(handle, 0)
	if err != nil {
		return opened{}, fmt.Errorf("WaitForSingleObject: %w", err)
	}
	o.exited = event == windows.WAIT_OBJECT_0
	return o, nil
}

// startKey is 0 where Windows does not give it. The record goes on with paths and
// the command line of the process, which need not fit.
func startKey(handle windows.Handle) uint64 {
	var space [64]uint64 // aligned as the record is
	info := unsafe.Slice((*byte)(unsafe.Pointer(&space[0])), unsafe.Sizeof(space))
	var n uint32
	err := windows.NtQueryInformationProcess(handle, windows.ProcessTelemetryIdInformation, unsafe.Pointer(&info[0]), uint32(len(info)), &n)
	if err != nil && !errors.Is(err, windows.STATUS_BUFFER_OVERFLOW) {
		return 0
	}
	return ntinfo.StartKey(info[:min(int(n), len(info))])
}

// listedStart finds a process that may not be opened in the list of all.
func listedStart(pid int) (uint64, error) {
	processes, err := ntinfo.Processes()
	if err != nil {
		return 0, err
	}
	process, found := ntinfo.Find(processes, uint64(pid))
	if !found {
		return 0, errors.New("not in the list of processes")
	}
	return process.Created, nil
}

func (v *windowsView) check(id *Identity) Verdict {
	if v.boot.Boot == "" { // it could not be read
		now := *v
		now.boot, _ = bootid.Current()
		now.lastBoot = nil
		v = &now
	}
	look := windowsLook{windowsView: v}
	defer func() { look.opened.close() }()
	return v.judge(id, &look, nil)
}

// windowsLook keeps open the process that it has looked at, so that what is read
// afterwards is of that one.
type windowsLook struct {
	*windowsView
	opened opened
}

func (l *windowsLook) look(pid int) (holder, Verdict, bool) {
	var err error
	switch l.opened, err = open(pid); {
	case errors.Is(err, errNobody):
		return holder{}, l.nobody(), false
	case err != nil:
		return holder{}, unreadable(err), false
	}
	return l.opened.holder, Verdict{}, true
}

// nobody judges a PID of which no process is shown.
func (v *windowsView) nobody() Verdict {
	if v.inContainer && !v.exclusive {
		return unreadable(errOutside)
	}
	return Verdict{State: Dead, Reason: NoProcess}
}

var errOutside = fmt.Errorf("%w: it may be outside of this container", errNobody)

func (v *windowsView) gone(pid int) (Verdict, bool) {
	found, err := open(pid)
	found.close()
	if !errors.Is(err, errNobody) {
		return Verdict{}, false
	}
	verdict := v.nobody()
	return verdict, verdict.State == Dead
}

func (v *windowsView) wallStart(stamp uint64) (wallStart, error) {
	start, ok := ntinfo.FileTime(stamp)
	if !ok {
		return wallStart{}, fmt.Errorf("no creation time: %d", stamp)
	}
	now := time.Now()
	return wallStart{boot: now.Add(-windows.DurationSinceBoot()), process: start, now: now}, nil
}

// readEnviron reads the environment out of the memory of a process of the same
// user, as it is now: SetEnvironmentVariable edits it (PEB and
// RTL_USER_PROCESS_PARAMETERS, https://learn.microsoft.com/windows/win32/api/winternl/).
func (v *windowsView) readEnviron(pid int) ([]byte, error) {
	handle, err := openExactly(pid, windows.PROCESS_QUERY_INFORMATION|windows.PROCESS_VM_READ)
	if err != nil {
		return nil, err
	}
	defer windows.CloseHandle(handle)
	var basic windows.PROCESS_BASIC_INFORMATION
	if err := windows.NtQueryInformationProcess(handle, windows.ProcessBasicInformation, unsafe.Pointer(&basic), uint32(unsafe.Sizeof(basic)), nil); err != nil {
		return nil, fmt.Errorf("NtQueryInformationProcess: %w", err)
	}
	var peb windows.PEB
	if err := readMemory(handle, uintptr(unsafe.Pointer(basic.PebBaseAddress)), (*byte)(unsafe.Pointer(&peb)), unsafe.Sizeof(peb)); err != nil {
		return nil, err
	}
	var parameters windows.RTL_USER_PROCESS_PARAMETERS
	if err := readMemory(handle, uintptr(unsafe.Pointer(peb.ProcessParameters)), (*byte)(unsafe.Pointer(&parameters)), unsafe.Sizeof(parameters)); err != nil {
		return nil, err
	}
	size := parameters.EnvironmentSize
	if size == 0 || size > 8<<20 {
		return nil, fmt.Errorf("an environment of %d bytes", size)
	}
	block := make([]byte, size)
	if err := readMemory(handle, uintptr(parameters.Environment), &block[0], size); err != nil {
		return nil, err
	}
	environ, ok := ntinfo.ParseEnvironment(block)
	if !ok {
		return nil, errors.New("an environment without an end")
	}
	return environ, nil
}

func readMemory(handle windows.Handle, address uintptr, buffer *byte, size uintptr) error {
	var n uintptr
	if err := windows.ReadProcessMemory(handle, address, buffer, size, &n); err != nil {
		return fmt.Errorf("ReadProcessMemory: %w", err)
	}
	if n != size {
		return fmt.Errorf("ReadProcessMemory: %d of %d bytes", n, size)
	}
	return nil
}

func self() (Identity, error) {
	o, err := look(windows.CurrentProcess())
	if err != nil {
		return Identity{}, err
	}
	return o.identity(os.Getpid()), nil
}

func (o opened) identity(pid int) Identity {
	id := Identity{PID: pid, Start: o.start, Unique: o.unique}
	id.Boot, _ = bootid.Current()
	return id
}

func capture(pid int) (Identity, error) {
	if pid < 1 || uint64(pid) > math.MaxUint32 {
		return Identity{}, invalidPID(pid)
	}
	o, err := open(pid)
	if errors.Is(err, errNobody) {
		return Identity{}, fmt.Errorf("%w: %w", ErrNoProcess, err)
	}
	if err != nil {
		return Identity{}, err
	}
	defer o.close()
	return o.identity(pid), nil
}

func captureProcess(process *os.Process) (id Identity, err error) {
	handleErr := process.WithHandle(func(handle uintptr) {
		var o opened
		if o, err = look(windows.Handle(handle)); err == nil {
			id = o.identity(process.Pid)
		}
	})
	switch {
	case handleErr == nil:
		return id, err
	case errors.Is(handleErr, os.ErrProcessDone):
		return Identity{}, fmt.Errorf("%w: %w", ErrNoProcess, handleErr)
	default:
		return Identity{}, handleErr
	}
}
