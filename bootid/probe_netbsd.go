package bootid

// awakeClock is CLOCK_MONOTONIC (sys/sys/time.h), which x/sys has not.
const awakeClock = 3
