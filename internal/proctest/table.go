package proctest

import (
	"os"
	"strings"
	"testing"
)

// Platforms reads the table of docs/platforms.md below a root: a row by its first
// cell, a cell by its heading.
func Platforms(t testing.TB, root string) map[string]map[string]string {
	t.Helper()
	text, err := os.ReadFile(root + "/docs/platforms.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]map[string]string{}
	var headings []string
	for line := range strings.Lines(string(text)) {
		inner, ok := strings.CutPrefix(strings.TrimSpace(line), "| ")
		switch {
		case !ok && headings != nil:
			return rows
		case !ok || strings.HasPrefix(inner, "---"):
			continue
		}
		cells := strings.Split(strings.TrimSuffix(inner, " |"), " | ")
		if headings == nil {
			headings = cells
			continue
		}
		row := map[string]string{}
		for i, cell := range cells {
			row[headings[i]] = cell
		}
		rows[cells[0]] = row
	}
	t.Fatal("docs/platforms.md has no end of the table")
	return nil
}

// Platform is the row of a GOOS in docs/platforms.md.
func Platform(goos string) string {
	switch goos {
	case "linux":
		return "Linux 6.9 and later"
	case "android":
		return "Android"
	case "windows":
		return "Windows"
	case "darwin":
		return "macOS"
	case "freebsd":
		return "FreeBSD"
	case "openbsd":
		return "OpenBSD"
	case "netbsd":
		return "NetBSD"
	case "dragonfly":
		return "DragonFly BSD"
	default:
		return "any other"
	}
}

// OneOf fails the test if what was measured is none of the words that a cell
// gives, separated by " or ".
func OneOf(t testing.TB, what, cell, measured string) {
	t.Helper()
	for word := range strings.SplitSeq(cell, " or ") {
		if word == measured {
			return
		}
	}
	t.Errorf("docs/platforms.md says of the %s: %q, but it is %q", what, cell, measured)
}
