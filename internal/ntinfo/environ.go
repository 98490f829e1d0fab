package ntinfo

import (
	"encoding/binary"
	"unicode/utf16"
)

// ParseEnvironment turns an environment block of Windows, UTF-16 in entries that
// a NUL ends and an empty one closes, into UTF-8 entries that a NUL ends. It is
// false for a block that is cut short. Entries that start with an equals sign are
// the shell's notes of current directories
// (https://devblogs.microsoft.com/oldnewthing/20100506-00/?p=14133), and left out.
func ParseEnvironment(block []byte) (environ []byte, ok bool) {
	units := make([]uint16, len(block)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(block[2*i:])
	}
	for {
		end := 0
		for end < len(units) && units[end] != 0 {
			end++
		}
		if end == len(units) {
			return nil, false // the block is cut
		}
		if end == 0 {
			return environ, true
		}
		if units[0] != '=' {
			environ = append(environ, string(utf16.Decode(units[:end]))...)
			environ = append(environ, 0)
		}
		units = units[end+1:]
	}
}
