package liveness

import (
	"bytes"
	"strings"
)

// statusField returns a line's value of /proc/PID/status (proc_pid_status(5)).
func statusField(status []byte, name string) (string, bool) {
	for line := range bytes.Lines(status) {
		if key, value, ok := bytes.Cut(line, []byte(":")); ok && string(key) == name {
			return string(bytes.TrimSpace(value)), true
		}
	}
	return "", false
}

// procMountOptions returns the super block's options of the procfs mounted at
// dir, from the text of /proc/PID/mountinfo (proc_pid_mountinfo(5)). The last
// of several mounts on one directory is the one that is seen.
func procMountOptions(mountinfo, dir string) (options string, ok bool) {
	for line := range strings.Lines(mountinfo) {
		before, after, found := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		mount, super := strings.Fields(before), strings.Fields(after)
		if !found || len(mount) < 5 || len(super) < 3 || mountPath(mount[4]) != dir {
			continue
		}
		options, ok = super[2], super[0] == "proc"
	}
	return options, ok
}

// mountPath undoes the octal escapes of mountinfo.
var mountEscapes = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

func mountPath(escaped string) string { return mountEscapes.Replace(escaped) }
