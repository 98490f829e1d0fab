package liveness

import (
	"sync/atomic"

	"golang.org/x/sys/windows/registry"
)

// InContainer makes the System of a process in a container.
func InContainer(options Options) (*System, error) {
	system, err := New(options)
	if err == nil {
		system.inContainer, system.lastBoot = true, new(atomic.Pointer[comparedBoot])
	}
	return system, err
}

// HasUserValue reports whether a key of this user has a value.
func HasUserValue(path, name string) bool { return hasValue(registry.CURRENT_USER, path, name) }
