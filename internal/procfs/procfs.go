// Package procfs decodes the files of Linux's /proc. It reads no file and has no
// build tag, so that its tests run on every system.
package procfs

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// StatusField returns the value of a line of /proc/PID/status
// (proc_pid_status(5)).
func StatusField(status []byte, name string) (string, bool) {
	for line := range bytes.Lines(status) {
		if key, value, ok := bytes.Cut(line, []byte(":")); ok && string(key) == name {
			return string(bytes.TrimSpace(value)), true
		}
	}
	return "", false
}

// MountOptions returns the options of the super block of the procfs mount with
// the given ID, from the text of /proc/PID/mountinfo (proc_pid_mountinfo(5)).
func MountOptions(mountinfo, id string) (options string, ok bool) {
	for line := range strings.Lines(mountinfo) {
		before, after, found := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		mount, super := strings.Fields(before), strings.Fields(after)
		if found && len(mount) >= 5 && len(super) >= 3 && mount[0] == id {
			return super[2], super[0] == "proc"
		}
	}
	return "", false
}

// NamespaceLink returns the inode number in the target of a link in
// /proc/PID/ns, such as "pid:[4026531836]" (namespaces(7)). It takes the results of
// reading the link.
func NamespaceLink(target string, err error) (uint64, error) {
	if err != nil {
		return 0, err
	}
	_, number, _ := strings.Cut(strings.TrimSuffix(target, "]"), ":[")
	inode, err := strconv.ParseUint(number, 10, 64)
	if err != nil || inode == 0 {
		return 0, fmt.Errorf("no namespace: %q", target)
	}
	return inode, nil
}

// InitialTimeNamespace is the inode number of the time namespace in which Linux
// boots, the same in every boot (PROC_TIME_INIT_INO, include/linux/proc_ns.h).
// InitialTimeLink is the target of a link to it.
const (
	InitialTimeNamespace = 4026531834
	InitialTimeLink      = "time:[4026531834]"
)
