//go:build !mattn && !ncruces

package main

import _ "modernc.org/sqlite" // written in Go: what it costs has nothing of C in it

const (
	driverName = "sqlite"
	inWAL      = "_pragma=journal_mode(WAL)"
)
