package bootid

import (
	"github.com/google/uuid"

	"github.com/rollcall-go/rollcall/internal/kinfo"
)

// The internals that tests look at.
var (
	ParseUUID        = parseUUID
	HashMachine      = hashMachine
	BootCounter      = bootCounter
	DeriveBoot       = deriveBoot
	ParseBootSession = parseBootSession
	ParseBootID      = parseBootID
	ParseHostUUID    = parseHostUUID
)

// Derive names a boot by its PID 1.
func Derive(system kinfo.System, process kinfo.Process, thread uint32, before, after int64) (ID, error) {
	return initStart{process, thread, before, after}.derive(system)
}

// Kernel plays the kernel of macOS or a BSD.
type Kernel struct {
	Texts map[string]string
	Raws  map[string][]byte
	Err   error // of every name, instead of ErrMissing
	UUID  uuid.UUID
	// Init is PID 1, and the boot times to tell in turn.
	Init      kinfo.Process
	Thread    uint32
	BootTimes []int64
}

func (k *Kernel) missing() error {
	if k.Err != nil {
		return k.Err
	}
	return errMissing
}

func (k *Kernel) text(name string) (string, error) {
	if text, ok := k.Texts[name]; ok {
		return text, nil
	}
	return "", k.missing()
}

func (k *Kernel) raw(name string) ([]byte, error) {
	if raw, ok := k.Raws[name]; ok {
		return raw, nil
	}
	return nil, k.missing()
}

func (k *Kernel) init() (initStart, error) {
	start := initStart{k.Init, k.Thread, k.BootTimes[0], k.BootTimes[1]}
	k.BootTimes = k.BootTimes[2:]
	return start, nil
}

func (k *Kernel) platformUUID() (uuid.UUID, error) { return k.UUID, k.Err }

// Boot and Machine ask the kernel.
func (k *Kernel) Boot(system kinfo.System) (ID, error)        { return sysctlBoot(system, k) }
func (k *Kernel) Machine(system kinfo.System) (string, error) { return sysctlMachine(system, k) }
