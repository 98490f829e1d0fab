package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

const root = "../.."

// TestAsAUserWould gets the released modules into an empty one, from a module
// proxy with what a release commit of this tree would hold, and builds and runs a
// program with them.
func TestAsAUserWould(t *testing.T) {
	// A version that never was, and the user's own module cache: what else is
	// needed is there and compiled already.
	version := fmt.Sprintf("v0.0.1-check.%d", time.Now().UnixNano())
	cache := strings.TrimSpace(goCommand(t, ".", nil, "env", "GOMODCACHE"))
	t.Cleanup(func() { forget(t, cache, version) })
	proxy := t.TempDir()
	for _, dir := range released {
		if err := publish(proxy, dir, version); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{
		"GOWORK=off", "GOFLAGS=-modcacherw", "GONOSUMDB=" + rootPath, "GONOPROXY=none",
		"GOPROXY=" + fileURL(proxy) + "," + strings.TrimSpace(goCommand(t, ".", nil, "env", "GOPROXY")),
	}

	for _, dir := range released {
		t.Run("alone "+dir, func(t *testing.T) {
			user := t.TempDir()
			goCommand(t, user, env, "mod", "init", "example.com/user")
			goCommand(t, user, env, "get", modulePath(dir))
			all := goCommand(t, user, env, "list", "-m", "all")
			if !strings.Contains(all, rootPath+" "+version+"\n") {
				t.Errorf("go get %s got\n%s", modulePath(dir), all)
			}
			for _, driver := range []string{"sqlite", "pgx", rootPath + "/"} {
				if dir == "." && strings.Contains(all, driver) {
					t.Errorf("with the root comes %q:\n%s", driver, all)
				}
			}
		})
	}
	t.Run("together", func(t *testing.T) {
		user := t.TempDir()
		program, err := os.ReadFile("testdata/user/main.go")
		if err == nil {
			err = os.WriteFile(filepath.Join(user, "main.go"), program, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		goCommand(t, user, env, "mod", "init", "example.com/user")
		args := []string{"get"}
		for _, dir := range released {
			args = append(args, modulePath(dir))
		}
		goCommand(t, user, env, args...)
		goCommand(t, user, env, "mod", "tidy")
		mod, err := os.ReadFile(filepath.Join(user, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range released {
			if !bytes.Contains(mod, []byte(modulePath(dir)+" "+version+"\n")) {
				t.Errorf("%s is not required at %s:\n%s", modulePath(dir), version, mod)
			}
		}
		if got, want := goCommand(t, user, env, "run", "."), "stopped 1 web\n"; got != want {
			t.Errorf("the program says %q, not %q", got, want)
		}
	})
}

// goCommand runs the go command in a directory and returns what it prints.
func goCommand(t *testing.T, dir string, env []string, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s%s", strings.Join(args, " "), err, output, &stderr)
	}
	return string(output)
}

func fileURL(dir string) string {
	dir = filepath.ToSlash(dir)
	if !strings.HasPrefix(dir, "/") {
		dir = "/" + dir // a drive of Windows
	}
	return "file://" + dir
}

// publish writes the module of a directory into a proxy's
// (https://go.dev/ref/mod#goproxy-protocol), as its tag would have it.
func publish(proxy, dir, version string) error {
	m := module.Version{Path: modulePath(dir), Version: version}
	source := filepath.Join(root, dir)
	mod, err := require(filepath.Join(source, "go.mod"), version)
	if err != nil {
		return err
	}
	checked, err := zip.CheckDir(source)
	if err != nil {
		return err
	}
	var files []zip.File
	for _, name := range checked.Valid {
		inside, err := filepath.Rel(source, name)
		if err != nil {
			return err
		}
		f := file{path: filepath.ToSlash(inside), name: name}
		if f.path == "go.mod" {
			f.content = mod
		}
		files = append(files, f)
	}
	if dir != "." { // as the go command does for a module below the root
		files = append(files, file{path: "LICENSE", name: filepath.Join(root, "LICENSE")})
	}
	target := filepath.Join(proxy, filepath.FromSlash(m.Path), "@v")
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	info := fmt.Sprintf(`{"Version":%q,"Time":%q}`, version, time.Now().UTC().Format(time.RFC3339))
	for name, content := range map[string][]byte{"list": []byte(version + "\n"), version + ".info": []byte(info), version + ".mod": mod} {
		if err := os.WriteFile(filepath.Join(target, name), content, 0o644); err != nil {
			return err
		}
	}
	archive, err := os.Create(filepath.Join(target, version+".zip"))
	if err != nil {
		return err
	}
	defer archive.Close()
	if err := zip.Create(archive, m, files); err != nil {
		return err
	}
	return archive.Close()
}

// file is a file of a module, with a content of its own or that of the tree.
type file struct {
	path, name string
	content    []byte
}

func (f file) Path() string { return f.path }

func (f file) Lstat() (fs.FileInfo, error) {
	info, err := os.Lstat(f.name)
	if err == nil && f.content != nil {
		info = sized{info, int64(len(f.content))}
	}
	return info, err
}

type sized struct {
	fs.FileInfo
	size int64
}

func (s sized) Size() int64 { return s.size }

func (f file) Open() (io.ReadCloser, error) {
	if f.content != nil {
		return io.NopCloser(bytes.NewReader(f.content)), nil
	}
	return os.Open(f.name)
}

// forget removes what the go command has kept of a version. It makes a list of
// those that it has anew.
func forget(t *testing.T, cache, version string) {
	for _, dir := range released {
		name := filepath.FromSlash(modulePath(dir))
		downloads := filepath.Join(cache, "cache", "download", name, "@v")
		kept, err := filepath.Glob(filepath.Join(downloads, version+".*"))
		if err != nil {
			t.Error(err)
		}
		for _, name := range append(kept, filepath.Join(downloads, "list"), filepath.Join(cache, name+"@"+version)) {
			if err := os.RemoveAll(name); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestPrepare(t *testing.T) {
	tree := t.TempDir()
	write := func(name, text string) {
		name = filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("go.work", "go 1.26.0\n\nuse (\n\t.\n\t./store\n)\n")
	write("go.mod", "module "+rootPath+"\n")
	const before = "module " + rootPath + "/store\n\nrequire (\n\texample.com/x v1.2.3\n\t" + rootPath + " v0.0.0\n)\n\nreplace " + rootPath + " => ../\n"
	write("store/go.mod", before)
	write("CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n\n## [0.1.0] - 2026-12-01\n")
	for _, version := range []string{"v0.2.0", "0.1.0", "v0.1", "v2.0.0", "main", ""} {
		if err := prepare(tree, version); err == nil {
			t.Errorf("%q is prepared", version)
		}
	}
	if err := prepare(tree, "v0.1.0"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(tree, "store/go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(before, "v0.0.0", "v0.1.0", 1); string(got) != want {
		t.Errorf("go.mod is\n%s\nwant\n%s", got, want)
	}
}

// What has a version is all that a user imports.
func TestReleasedModulesAreOfTheWorkspace(t *testing.T) {
	dirs, err := workspace(root)
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, dir := range dirs {
		used[filepath.ToSlash(filepath.Clean(dir))] = true
	}
	for _, dir := range released {
		if !used[dir] {
			t.Errorf("%s is not in go.work", dir)
		}
		delete(used, dir)
	}
	for dir := range used {
		if dir != "examples" && !strings.HasPrefix(dir, "bench") && !strings.HasPrefix(dir, "sqlitestore/") {
			t.Errorf("%s is neither released nor known to hold only tests and examples", dir)
		}
	}
}
