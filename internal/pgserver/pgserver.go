// Package pgserver starts a PostgreSQL server for tests and examples: the one
// of the system's packages, in a directory of its own, with a Unix socket and
// no port. It ends with the process that started it, however that ends.
package pgserver

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// ErrNotInstalled is returned when the programs of PostgreSQL, or what is needed
// to run them as another user than root, are not found.
var ErrNotInstalled = errors.New("PostgreSQL is not installed")

// URLVariable is the environment variable with the address of a server to use
// instead of one of one's own.
const URLVariable = "DATABASE_URL"

// Server is a running server.
type Server struct {
	dir    string
	bin    string
	prefix []string // runs a command as the user of the server
	keeper *exec.Cmd
	end    io.Closer
}

// Start makes a database cluster with the settings, each "name = value", and
// starts a server on it. The error matches [ErrNotInstalled] where it cannot.
func Start(settings ...string) (s *Server, err error) {
	s = &Server{}
	if s.bin, err = programs(); err != nil {
		return nil, err
	}
	// A socket's path has at most 107 bytes: no deeper than this.
	if s.dir, err = os.MkdirTemp("", "rollcall-pg-"); err != nil {
		return nil, err
	}
	if err := s.start(settings); err != nil {
		return nil, errors.Join(err, s.Stop(), os.RemoveAll(s.dir))
	}
	return s, nil
}

// programs returns the directory of PostgreSQL's programs. Debian has one for
// each version, and none of them in PATH.
func programs() (string, error) {
	if runtime.GOOS == "windows" {
		return "", fmt.Errorf("pgserver: %w: a server is not started on Windows", ErrNotInstalled)
	}
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(dirs, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(b, a)) })
	if path, err := exec.LookPath("pg_ctl"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	for _, dir := range dirs {
		if _, err := exec.LookPath(filepath.Join(dir, "initdb")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("pgserver: %w: no initdb below /usr/lib/postgresql, no pg_ctl in PATH", ErrNotInstalled)
}

func (s *Server) start(settings []string) error {
	if err := s.giveUpRoot(); err != nil {
		return err
	}
	if err := s.run("initdb", "-D", s.data(), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"); err != nil {
		return err
	}
	settings = append([]string{"listen_addresses = ''", "unix_socket_directories = '" + s.dir + "'"}, settings...)
	config, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = io.WriteString(config, strings.Join(settings, "\n")+"\n")
	if err := errors.Join(err, config.Close()); err != nil {
		return err
	}
	if err := s.keep(); err != nil {
		return err
	}
	return s.run("pg_ctl", "start", "-w", "-t", "60", "-D", s.data(), "-l", s.log())
}

// giveUpRoot gives the directory to the user postgres, or nobody, if this
// process is root's: PostgreSQL does not run as root.
func (s *Server) giveUpRoot() error {
	if os.Geteuid() != 0 {
		return nil
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		return fmt.Errorf("pgserver: %w: to run it as another user than root needs setpriv: %w", ErrNotInstalled, err)
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		if account, err = user.Lookup("nobody"); err != nil {
			return fmt.Errorf("pgserver: %w", err)
		}
	}
	s.prefix = []string{setpriv, "--reuid=" + account.Uid, "--regid=" + account.Gid, "--clear-groups"}
	uid, err := strconv.Atoi(account.Uid)
	if err != nil {
		return fmt.Errorf("pgserver: %w", err)
	}
	return os.Chown(s.dir, uid, -1)
}

// keep starts a shell that stops the server and removes its directory at the
// end of its standard input: that of this process, if not before.
func (s *Server) keep() error {
	const script = `trap "" INT TERM HUP; cat >/dev/null; "$1" stop -D "$2" -m immediate -w >/dev/null 2>&1; rm -rf "$3"`
	s.keeper = s.command("sh", "-c", script, "sh", filepath.Join(s.bin, "pg_ctl"), s.data(), s.dir)
	end, err := s.keeper.StdinPipe()
	if err != nil {
		return err
	}
	if err := s.keeper.Start(); err != nil {
		s.keeper = nil
		return fmt.Errorf("pgserver: %w", err)
	}
	s.end = end
	return nil
}

// Stop stops the server at once and removes all of it.
func (s *Server) Stop() error {
	if s.keeper == nil {
		return nil
	}
	err := s.end.Close()
	err = errors.Join(err, s.keeper.Wait(), os.RemoveAll(s.dir))
	s.keeper = nil
	return err
}

// Restart stops the server in a mode of pg_ctl ("fast", or "immediate", which is
// a crash) and starts it again.
func (s *Server) Restart(mode string) error {
	return s.run("pg_ctl", "restart", "-w", "-t", "60", "-m", mode, "-D", s.data(), "-l", s.log())
}

// URL is the address of the database "postgres" of the server.
func (s *Server) URL() string { return URL(s.Socket()) }

// URL is the address of a database through a socket in the directory of another
// server's.
func URL(socket string) string {
	return "postgres:///postgres?user=postgres&host=" + filepath.Dir(socket)
}

// Socket is the path of the server's socket.
func (s *Server) Socket() string { return filepath.Join(s.dir, SocketName) }

// SocketName is the name that clients expect of a socket.
const SocketName = ".s.PGSQL.5432"

func (s *Server) data() string { return filepath.Join(s.dir, "data") }
func (s *Server) log() string  { return filepath.Join(s.dir, "log") }

func (s *Server) command(name string, args ...string) *exec.Cmd {
	args = append(append(slices.Clone(s.prefix), name), args...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = "/"
	return cmd
}

// run runs a program of PostgreSQL. What it starts must not hold a pipe of ours,
// so its output goes to a file.
func (s *Server) run(name string, args ...string) error {
	output, err := os.CreateTemp("", "rollcall-pg-output-")
	if err != nil {
		return fmt.Errorf("pgserver: %w", err)
	}
	defer func() { _ = os.Remove(output.Name()) }() // of the size of a message
	defer output.Close()
	cmd := s.command(filepath.Join(s.bin, name), args...)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(output.Name())
		log, _ := os.ReadFile(s.log())
		return fmt.Errorf("pgserver: %s: %w\n%s%s", name, err, text, log)
	}
	return nil
}
