package bootid

import "golang.org/x/sys/unix"

// awakeClock does not advance in suspend (sys/kern/kern_tc.c).
const awakeClock = unix.CLOCK_UPTIME
