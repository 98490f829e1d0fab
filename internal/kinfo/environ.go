package kinfo

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// ParseProcArgs returns the environment out of what KERN_PROCARGS2 of macOS
// answers: the number of arguments, the path of the program, NULs up to a
// multiple of the size of a pointer, the arguments, the environment, and
// strings of the system's own (bsd/kern/kern_sysctl.c of xnu). The entries
// returned are NUL-terminated, and go on with those strings: an empty string need
// not be the end, because an entry of the environment can be empty. There are none
// where the kernel keeps the environment to itself.
func ParseProcArgs(block []byte) ([]byte, error) {
	if len(block) < 4 {
		return nil, fmt.Errorf("%w: arguments of %d bytes", ErrMalformed, len(block))
	}
	count := binary.LittleEndian.Uint32(block)
	_, rest, ok := bytes.Cut(block[4:], []byte{0}) // the path
	for ok && len(rest) > 0 && rest[0] == 0 {
		rest = rest[1:]
	}
	for ; ok && count > 0; count-- {
		_, rest, ok = bytes.Cut(rest, []byte{0})
	}
	if !ok {
		return nil, fmt.Errorf("%w: arguments that are cut short", ErrMalformed)
	}
	return rest[:bytes.LastIndexByte(rest, 0)+1], nil
}

// ParseEnvVector returns the environment out of what KERN_PROC_ENV of OpenBSD
// answers: pointers to strings, which a nil pointer ends, and the strings
// (sys/kern/kern_sysctl.c). The pointers are addresses in the memory that the
// kernel wrote to, which begins at base.
func (s *System) ParseEnvVector(block []byte, base uint64, pointerSize int) ([]byte, error) {
	var environ []byte
	for slot := 0; ; slot += pointerSize {
		if slot+pointerSize > len(block) {
			return nil, fmt.Errorf("%w: an environment without an end", ErrMalformed)
		}
		pointer := s.read(block, field{slot, pointerSize})
		if pointer == 0 {
			return environ, nil
		}
		offset := pointer - base
		if offset >= uint64(len(block)) {
			return nil, fmt.Errorf("%w: an entry of the environment at %#x of %d bytes", ErrMalformed, offset, len(block))
		}
		entry := block[offset:]
		length := bytes.IndexByte(entry, 0)
		if length < 0 || len(environ)+length >= len(block) {
			return nil, fmt.Errorf("%w: entries of the environment without an end", ErrMalformed)
		}
		environ = append(environ, entry[:length+1]...)
	}
}
