// Wine writes, to the file named by its argument, a bcryptprimitives.dll for
// Wine 8, which lacks it. Each Go program for Windows takes its random numbers
// from that library's ProcessPrng (src/runtime/os_windows.go), which is
// RtlGenRandom of advapi32 (ntsecapi.h) under another name. The library holds
// nothing but the forwarder from the one to the other.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: wine FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], library(), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// library returns a PE file (https://learn.microsoft.com/windows/win32/debug/pe-format)
// of one section, which holds the export directory.
func library() []byte {
	const (
		alignment   = 0x200  // in the file
		section     = 0x1000 // where the section is in memory
		directory   = 40     // size of the export directory
		directories = 16
	)
	names := []byte("bcryptprimitives.dll\x00ProcessPrng\x00advapi32.SystemFunction036\x00")
	address := func(name string) uint32 { // of a name, which follows the tables
		return section + directory + 4 + 4 + 2 + uint32(bytes.Index(names, []byte(name)))
	}
	var exports bytes.Buffer
	write(&exports,
		uint32(0), uint32(0), uint32(0), address("bcryptprimitives"),
		uint32(1), uint32(1), uint32(1), // first ordinal, functions, names
		uint32(section+directory), uint32(section+directory+4), uint32(section+directory+8),
		address("advapi32"), address("ProcessPrng"), uint16(0), // the tables
		names)

	var file bytes.Buffer
	write(&file, []byte("MZ"), make([]byte, 58), uint32(64)) // DOS header
	write(&file, []byte("PE\x00\x00"),
		uint16(0x8664), uint16(1), uint32(0), uint32(0), uint32(0), uint16(112+8*directories), uint16(0x2022)) // AMD64, a DLL
	write(&file,
		uint16(0x20b), uint16(0), uint32(0), uint32(alignment), uint32(0), uint32(0), uint32(section), // PE32+, no code
		uint64(0x180000000), uint32(0x1000), uint32(alignment),
		uint16(6), uint16(0), uint16(0), uint16(0), uint16(6), uint16(0), uint32(0),
		uint32(2*section), uint32(alignment), uint32(0), uint16(3), uint16(0x160),
		uint64(1<<20), uint64(1<<12), uint64(1<<20), uint64(1<<12), uint32(0), uint32(directories),
		uint32(section), uint32(exports.Len()), make([]byte, 8*(directories-1)))
	write(&file, []byte(".rdata\x00\x00"),
		uint32(exports.Len()), uint32(section), uint32(alignment), uint32(alignment), make([]byte, 12), uint32(0x40000040))
	file.Write(make([]byte, alignment-file.Len()))
	file.Write(exports.Bytes())
	file.Write(make([]byte, 2*alignment-file.Len()))
	return file.Bytes()
}

// write appends values in little-endian order.
func write(b *bytes.Buffer, values ...any) {
	for _, value := range values {
		if err := binary.Write(b, binary.LittleEndian, value); err != nil {
			panic(err) // of a type that has no size
		}
	}
}
