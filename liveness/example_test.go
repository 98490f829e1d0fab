package liveness_test

import (
	"errors"
	"fmt"

	"github.com/rollcall-go/rollcall/liveness"
)

func ExampleParse() {
	id, err := liveness.Parse("rollcall1 pid=4711 boot=native//6ba7b810-9dad-11d1-80b4-00c04fd430c8 start=12345 unique=67890" +
		" check=5dec7485931d8395")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("PID", id.PID, "started at", id.Start, "in boot", id.Boot.Boot)

	_, err = liveness.Parse("rollcall1 pid=47") // cut short, as by a full disk
	fmt.Println(err)

	_, err = liveness.Parse("rollcall2 what=ever")
	fmt.Println(errors.Is(err, liveness.ErrInvalid))

	_, err = liveness.Parse("4711\n")
	fmt.Println(err)
	// Output:
	// PID 4711 started at 12345 in boot 6ba7b810-9dad-11d1-80b4-00c04fd430c8
	// liveness: parse identity "rollcall1 pid=47": invalid identity: no check at its end: it was cut short or changed
	// true
	// liveness: parse identity "4711\n": invalid identity: it does not start with "rollcall1"
}

func ExampleVerdict() {
	var verdict liveness.Verdict
	fmt.Println(verdict)
	fmt.Println(liveness.Verdict{State: liveness.Dead, Reason: liveness.PIDReused})
	// Output:
	// unknown: nothing recorded tells whose PID it is now
	// dead: its PID belongs to another process now
}
