package bootid_test

import (
	"fmt"

	"github.com/rollcall-go/rollcall/bootid"
)

func ExampleCurrent() {
	recorded, err := bootid.Current()
	if err != nil {
		fmt.Println(err)
		return
	}
	text := recorded.String() // keep it in a file; later:

	recorded, err = bootid.Parse(text)
	if err != nil {
		fmt.Println(err)
		return
	}
	now, err := bootid.Current()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(now.Compare(recorded))
	// Output: same boot
}
