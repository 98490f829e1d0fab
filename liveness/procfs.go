package liveness

import (
	"bytes"
	"fmt"
	"strconv"
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

// procMountOptions returns the super block's options of the procfs mount with
// the given ID, from the text of /proc/PID/mountinfo (proc_pid_mountinfo(5)).
func procMountOptions(mountinfo, id string) (options string, ok bool) {
	for line := range strings.Lines(mountinfo) {
		before, after, found := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		mount, super := strings.Fields(before), strings.Fields(after)
		if found && len(mount) >= 5 && len(super) >= 3 && mount[0] == id {
			return super[2], super[0] == "proc"
		}
	}
	return "", false
}

// parseNamespaceLink reads the inode number out of what a link in /proc/PID/ns
// leads to, such as "pid:[4026531836]" (namespaces(7)). It takes the result of
// reading the link.
func parseNamespaceLink(target string, err error) (uint64, error) {
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
