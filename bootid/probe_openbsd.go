package bootid

import "golang.org/x/sys/unix"

// awakeClock does not advance in suspend, as CLOCK_MONOTONIC does here
// (sys/kern/kern_time.c).
const awakeClock = unix.CLOCK_UPTIME
