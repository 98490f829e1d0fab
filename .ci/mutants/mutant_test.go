package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMutants(t *testing.T) {
	const source = `package p

func F(a, b int, c bool) bool {
	switch {
	case a < b && !c || a == 7:
		return true
	}
	return a != b
}

func G(c bool) int {
	if c {
		return 1
	}
	return 0
}
`
	file := filepath.Join(t.TempDir(), "p.go")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	for function, want := range map[string][]string{
		"F": {
			"case (a < b && !c || a == 7) && false:",
			"case !(a < b && !c || a == 7):",
			"case (((a < b && !c)&& false) || (a == 7)):",
			"case ((a < b && !c) || ((a == 7)&& false)):",
			"case (((a < b)|| true) && (!c)) || a == 7:",
			"case ((a < b) && ((!c)|| true)) || a == 7:",
			"case a >= b && !c || a == 7:",
			"case a <= b && !c || a == 7:",
			"case a < b && c || a == 7:",
			"case a < b && !c || a != 7:",
			"return a == b",
		},
		"G": {"if (c) && false {", "if !(c) {"},
	} {
		mutants, err := mutantsOf(file, []string{function})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range mutants {
			lines := strings.Split(string(m.source()), "\n")
			got = append(got, strings.TrimSpace(lines[m.line-1]))
		}
		if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
			t.Errorf("mutants of %s:\n%s\nwant\n%s", function, g, w)
		}
	}
	if _, err := mutantsOf(file, []string{"H"}); err == nil {
		t.Error("a function that is not there is no error")
	}
}

func TestListOfEquivalentMutants(t *testing.T) {
	if _, err := parseEquivalent(equivalent); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"a", "\tb", "a\nb\n\tc"} {
		if _, err := parseEquivalent(text); err == nil {
			t.Errorf("%q is a list", text)
		}
	}
}
