package liveness

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"

	"github.com/rollcall-go/rollcall/internal/ntinfo"
	"github.com/rollcall-go/rollcall/internal/pinned"
)

// member is a process of a tree, held by a handle.
type member struct {
	ntinfo.Process
	handle windows.Handle
}

// SignalGroup terminates the tree of processes. All of them are held by handles
// before one is terminated, so that no PID of a parent is given to another
// process meanwhile.
func (p *processHandle) SignalGroup(sig os.Signal) error {
	var root windows.Handle
	err := p.with(func(handle windows.Handle) (err error) {
		if sig != os.Kill {
			return unsupportedSignal(sig)
		}
		root, err = duplicate(handle)
		return err
	})
	if err != nil {
		return err
	}
	tree, err := p.endTree(root)
	handles := make([]windows.Handle, len(tree))
	for i, m := range tree {
		handles[i] = m.handle
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.handle == 0 || err != nil {
		closeAll(handles)
		return err
	}
	p.ended = append(p.ended, handles...)
	return nil
}

// endTree terminates the tree and returns what belongs to it, with the handles.
func (p *processHandle) endTree(root windows.Handle) ([]member, error) {
	found := []member{{ntinfo.Process{PID: uint64(p.pid)}, root}}
	o, err := look(root)
	if err != nil {
		return found, err
	}
	found[0].Created = o.start
	var failed error
	gone := true
	for ended := 0; ; {
		// Until no new process is found: first the tree as it is, then what it
		// started before it ended.
		for more := true; more; {
			before := len(found)
			if found, err = addChildren(found); err != nil {
				return found, err
			}
			more = len(found) > before
		}
		if ended == len(found) {
			break
		}
		for _, m := range found[ended:] {
			switch err := end(m.handle); {
			case err == nil:
				gone = false
			case !errors.Is(err, ErrNoProcess):
				failed = errors.Join(failed, err)
			}
		}
		ended = len(found)
	}
	if failed == nil && gone {
		failed = ErrNoProcess
	}
	return found, failed
}

// addChildren opens those who descend from the members and are not among them.
func addChildren(found []member) ([]member, error) {
	processes, err := ntinfo.Processes()
	if err != nil {
		return found, err
	}
	ancestors := make([]ntinfo.Process, len(found))
	for i, m := range found {
		ancestors[i] = m.Process
	}
	for _, process := range ntinfo.Descendants(processes, ancestors) {
		if process.PID == uint64(os.Getpid()) {
			return found, pinned.ErrOwnGroup
		}
		handle, err := openListed(process)
		if errors.Is(err, errNobody) {
			continue
		}
		if err != nil {
			return found, err
		}
		found = append(found, member{process, handle})
	}
	return found, nil
}

// openListed opens the process that was listed, or returns errNobody.
func openListed(process ntinfo.Process) (windows.Handle, error) {
	handle, err := openExactly(int(process.PID), queryAccess|windows.PROCESS_TERMINATE)
	if err != nil {
		return 0, err
	}
	o, err := look(handle)
	if err == nil && o.start != process.Created {
		err = errNobody
	}
	if err != nil {
		windows.CloseHandle(handle)
		return 0, err
	}
	return handle, nil
}
