package reboot

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// Machine is a virtual machine with one disk.
type Machine struct {
	// QEMU is the path of qemu-system-x86_64, Kernel that of a bzImage with
	// NVMe and ext4 built in, Initramfs that of an archive with the guest, and
	// Disk that of an ext4 image.
	QEMU, Kernel, Initramfs, Disk string
	// Journal is SQLite's journal mode.
	Journal string
}

// Running is a machine under power.
type Running struct {
	cmd     *exec.Cmd
	cancel  context.CancelFunc
	console *bufio.Reader
	noise   bytes.Buffer // what else came over the console
}

// bootTime is how long a machine may be in use between two cuts.
const bootTime = 5 * time.Minute

// Start turns the machine on, with its wall clock set. It goes off with ctx, and
// after some minutes.
func (m Machine) Start(ctx context.Context, clock time.Time) (*Running, error) {
	ctx, cancel := context.WithTimeout(ctx, bootTime)
	cmd := exec.CommandContext(ctx, m.QEMU,
		"-accel", "tcg", "-M", "q35", "-cpu", "max", "-smp", "1", "-m", "256",
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
		"-rtc", "base="+clock.UTC().Format("2006-01-02T15:04:05"),
		"-kernel", m.Kernel, "-initrd", m.Initramfs,
		"-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr journal="+m.Journal,
		"-drive", "file="+m.Disk+",if=none,id=d0,format=raw,cache=writeback",
		"-device", "nvme,drive=d0,serial=x")
	out, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	r := &Running{cmd: cmd, cancel: cancel, console: bufio.NewReader(out)}
	cmd.Stderr = cmd.Stdout
	if err := startDependent(cmd); err != nil {
		cancel()
		return nil, err
	}
	return r, nil
}

// Next returns the next line that the guest wrote.
func (r *Running) Next() (Line, error) {
	for {
		text, err := r.console.ReadString('\n')
		if err != nil {
			// The last line may be cut, and then was not said.
			return Line{}, fmt.Errorf("console ended: %w\n%s", err, &r.noise)
		}
		said, ok := strings.CutPrefix(strings.TrimRight(text, "\r\n"), Prefix)
		if !ok {
			r.noise.WriteString(text)
			continue
		}
		var line Line
		if err := json.Unmarshal([]byte(said), &line); err != nil {
			return Line{}, fmt.Errorf("console: %q: %w", said, err)
		}
		return line, nil
	}
}

// Cut takes the power away, and returns the lines that the guest had written
// before. What it had not flushed to the disk is lost.
func (r *Running) Cut() []Line {
	_ = r.cmd.Process.Kill()
	var lines []Line
	for {
		line, err := r.Next()
		if err != nil {
			break
		}
		lines = append(lines, line)
	}
	_ = r.cmd.Wait()
	r.cancel()
	return lines
}

// file is an entry of an archive.
type file struct {
	name string
	mode uint32
	// major and minor are those of a device.
	major, minor uint32
	data         []byte
}

// WriteInitramfs writes the archive of a root file system whose /init is the
// given program, in the "newc" form that the kernel unpacks
// (Documentation/driver-api/early-userspace/buffer-format.rst).
func WriteInitramfs(w io.Writer, init []byte, machineID string) error {
	const directory, device, regular, executable = 0o040755, 0o020600, 0o100644, 0o100755
	var archive bytes.Buffer
	for i, f := range []file{
		{name: "dev", mode: directory},
		{name: "dev/console", mode: device, major: 5, minor: 1},
		{name: "proc", mode: directory},
		{name: "sys", mode: directory},
		{name: "data", mode: directory},
		{name: "etc", mode: directory},
		{name: "etc/machine-id", mode: regular, data: []byte(machineID + "\n")},
		{name: "init", mode: executable, data: init},
		{name: "TRAILER!!!"},
	} {
		fmt.Fprintf(&archive, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
			i+1, f.mode, 0, 0, 1, 0, len(f.data), 0, 0, f.major, f.minor, len(f.name)+1, 0)
		archive.WriteString(f.name + "\x00")
		pad(&archive)
		archive.Write(f.data)
		pad(&archive)
	}
	_, err := w.Write(archive.Bytes())
	return err
}

func pad(b *bytes.Buffer) {
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
}
