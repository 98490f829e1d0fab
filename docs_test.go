package rollcall_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/proctest"
)

// readAll returns the files of the repository with the given ending, by their path.
// A module as its users get it has only a part of them.
func readAll(c *qt.C, ending string) map[string]string {
	if _, err := os.Stat("examples"); err != nil {
		proctest.Skip(c, "this is no clone of the repository")
	}
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ending) {
			return err
		}
		text, err := os.ReadFile(filepath.FromSlash(name))
		files[name] = string(text)
		return err
	})
	c.Assert(err, qt.IsNil)
	return files
}

var (
	link    = regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)\s]*))?\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	block   = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")
	tested  = regexp.MustCompile("`((?:Test|Example|Fuzz)[A-Z]\\w*)`")
)

// anchors are those that GitHub gives to the headings of a file.
func anchors(markdown string) map[string]bool {
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(block.ReplaceAllString(markdown, ""), -1) {
		all[strings.Map(func(r rune) rune {
			switch {
			case r == ' ' || r == '-':
				return '-'
			case r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
				return r
			default:
				return -1
			}
		}, strings.ToLower(m[1]))] = true
	}
	return all
}

func TestLinksOfTheDocsLeadSomewhere(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	files := readAll(c, ".md")
	links := 0
	for name, text := range files {
		for _, m := range link.FindAllStringSubmatch(block.ReplaceAllString(text, ""), -1) {
			target, anchor := m[1], m[2]
			if strings.Contains(target, ":") {
				continue // elsewhere
			}
			links++
			file := name
			if target != "" {
				file = path.Join(path.Dir(name), target)
			}
			_, err := os.Stat(filepath.FromSlash(file))
			c.Check(err, qt.IsNil, qt.Commentf("%s: %s", name, m[0]))
			if anchor != "" {
				c.Check(anchors(files[file])[anchor], qt.IsTrue, qt.Commentf("%s: %s", name, m[0]))
			}
		}
	}
	c.Check(links > 50, qt.IsTrue)
}

// lines is a text without its indentation.
func lines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	return b.String()
}

// What is quoted was compiled, and its output checked where it has one.
func TestCodeInTheDocsIsOfAFileOfTheRepository(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	var code []string
	for _, text := range readAll(c, ".go") {
		code = append(code, "\n"+lines(text))
	}
	quotes := 0
	for name, text := range readAll(c, ".md") {
		for _, m := range block.FindAllStringSubmatch(text, -1) {
			if m[1] != "go" {
				continue
			}
			quotes++
			found := false
			for _, file := range code {
				found = found || strings.Contains(file, "\n"+lines(m[2]))
			}
			c.Check(found, qt.IsTrue, qt.Commentf("%s: this is in no file:\n%s", name, m[2]))
		}
	}
	c.Check(quotes > 5, qt.IsTrue)
}

func TestTestsThatTheDocsNameExist(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	functions := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Example|Fuzz)\w*)\(`)
	for _, text := range readAll(c, "_test.go") {
		for _, m := range function.FindAllStringSubmatch(text, -1) {
			functions[m[1]] = true
		}
	}
	names := 0
	for name, text := range readAll(c, ".md") {
		for _, m := range tested.FindAllStringSubmatch(text, -1) {
			names++
			c.Check(functions[m[1]], qt.IsTrue, qt.Commentf("%s names %s", name, m[1]))
		}
	}
	c.Check(names > 50, qt.IsTrue)
}
