package bootid_test

import (
	"fmt"

	"github.com/rollcall-go/rollcall/bootid"
)

func ExampleParse() {
	id, err := bootid.Parse("native//6d4c1e0c-5f0e-4a43-9a3c-0f6c3a1f9b11")
	fmt.Println(id.Boot, id.Quality, err)

	_, err = bootid.Parse("yesterday's boot")
	fmt.Println(err)
	// Output:
	// 6d4c1e0c-5f0e-4a43-9a3c-0f6c3a1f9b11 native <nil>
	// bootid: parse "yesterday's boot": invalid boot ID
}

func ExampleID_Compare() {
	yesterday, _ := bootid.Parse("native//6d4c1e0c-5f0e-4a43-9a3c-0f6c3a1f9b11")
	today, _ := bootid.Parse("native//b5a0a1c2-33f0-4c55-8f0d-3d1f2a7c8e22")
	unreadable := bootid.ID{}

	fmt.Println(yesterday.Compare(today))
	fmt.Println(today.Compare(today))
	fmt.Println(unreadable.Compare(unreadable))
	// Output:
	// other boot
	// same boot
	// incomparable
}
