// Release prepares a release: it has every module of the repository require the
// others at the version that they are about to have.
//
//	cd .ci/release && GOWORK=off go run . v0.1.0
//
// It edits the go.mod files, and says what is left to do. The replace lines stay:
// whoever requires a module does not see them, and with them one commit can have
// the tags of all modules, since none has to be downloaded to be tidy.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

const rootPath = "github.com/rollcall-go/rollcall"

// released are the directories of the modules that have versions. The others in
// go.work hold tests and examples.
var released = []string{".", "postgresstore", "sqlitestore"}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: release VERSION")
		os.Exit(2)
	}
	if err := prepare("../..", os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func prepare(root, version string) error {
	if err := check(root, version); err != nil {
		return err
	}
	dirs, err := workspace(root)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		file := filepath.Join(root, dir, "go.mod")
		text, err := require(file, version)
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return err
		}
	}
	tags := make([]string, len(released))
	for i, dir := range released {
		tags[i] = tag(dir, version)
	}
	fmt.Printf("the modules require each other at %s. Then:\n", version)
	fmt.Printf("\tgit commit -a -m 'release %s'\n", version)
	for _, name := range tags {
		fmt.Printf("\tgit tag -a -m %s %s\n", name, name)
	}
	fmt.Printf("\tgit push --atomic origin main %s\n", strings.Join(tags, " "))
	return nil
}

// check says what keeps the version from being released.
func check(root, version string) error {
	// Major versions from 2 on need another module path.
	if semver.Canonical(version) != version || semver.Major(version) > "v1" {
		return fmt.Errorf("%q is no version such as v0.1.0 or v1.2.3", version)
	}
	text, err := os.ReadFile(filepath.Join(root, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	if heading := "\n## [" + strings.TrimPrefix(version, "v") + "] - "; !strings.Contains(string(text), heading) {
		return fmt.Errorf("CHANGELOG.md has no line %q with a date", heading[1:])
	}
	return nil
}

// workspace returns the directories of go.work.
func workspace(root string) ([]string, error) {
	file := filepath.Join(root, "go.work")
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	work, err := modfile.ParseWork(file, text, nil)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, use := range work.Use {
		dirs = append(dirs, filepath.FromSlash(use.Path))
	}
	if len(dirs) == 0 {
		return nil, errors.New("go.work has no modules")
	}
	return dirs, nil
}

// require returns a go.mod with the version for each module of this repository.
func require(file, version string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	mod, err := modfile.Parse(file, text, nil)
	if err != nil {
		return nil, err
	}
	for _, r := range mod.Require {
		if r.Mod.Path == rootPath || strings.HasPrefix(r.Mod.Path, rootPath+"/") {
			if err := mod.AddRequire(r.Mod.Path, version); err != nil {
				return nil, err
			}
		}
	}
	return mod.Format()
}

// modulePath is that of a released directory, and tag the name that git gives one
// of its versions.
func modulePath(dir string) string {
	if dir == "." {
		return rootPath
	}
	return rootPath + "/" + dir
}

func tag(dir, version string) string {
	if dir == "." {
		return version
	}
	return dir + "/" + version
}
