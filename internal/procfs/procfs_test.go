package procfs_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/procfs"
)

const status = "Name:\ta: b\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t12\nNgid:\t0\nPid:\t13\nPPid:\t1\nNSpid:\t12\t1\nVmPeak:\t    5124 kB\nEmpty:\n"

func TestStatusField(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name   string
		status string
		field  string
		want   string
		ok     bool
	}{
		{"number", status, "Tgid", "12", true},
		{"not the end of another name", status, "Pid", "13", true},
		{"several numbers", status, "NSpid", "12\t1", true},
		{"colon in the value", status, "Name", "a: b", true},
		{"with unit", status, "VmPeak", "5124 kB", true},
		{"empty", status, "Empty", "", true},
		{"missing", status, "NStgid", "", false},
		{"value is no name", status, "S (sleeping)", "", false},
		{"no text", "", "Tgid", "", false},
		{"last line without newline", "Tgid:\t12", "Tgid", "12", true},
		{"cut in the name", "Tgi", "Tgid", "", false},
	} {
		c.Run(test.name, func(c *qt.C) {
			got, ok := procfs.StatusField([]byte(test.status), test.field)
			c.Check(ok, qt.Equals, test.ok)
			c.Check(got, qt.Equals, test.want)
		})
	}
}

const mountinfo = `22 27 0:21 / /proc rw,relatime - proc proc rw
23 27 0:22 / /sys rw,relatime shared:3 master:1 - sysfs sysfs rw
80 27 0:55 / /host/proc ro,nosuid - proc proc rw,hidepid=invisible
81 27 0:56 / /host\040proc rw - proc proc rw,hidepid=2
85 27 0:60 /1/task /inner rw - proc proc rw
`

func TestMountOptions(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name string
		id   string
		want string
		ok   bool
	}{
		{"plain", "22", "rw", true},
		{"hidepid is an option of the file system, not of the mount", "80", "rw,hidepid=invisible", true},
		{"space in the path", "81", "rw,hidepid=2", true},
		{"part of a procfs", "85", "rw", true},
		{"another file system", "23", "rw", false},
		{"not mounted", "99", "", false},
		{"part of an ID", "2", "", false},
		{"none", "", "", false},
	} {
		c.Run(test.name, func(c *qt.C) {
			options, ok := procfs.MountOptions(mountinfo, test.id)
			c.Check(ok, qt.Equals, test.ok)
			c.Check(options, qt.Equals, test.want)
		})
	}
}

func TestGarbledMountinfoHasNoMounts(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, text := range []string{
		"", "\n", " - \n", "22 27 0:21 / /proc", "22 27 0:21 / /proc rw,relatime - proc proc", "22 27 0:21 /proc - proc proc rw",
		"22 27 0:21 / /proc rw,relatime proc proc rw",
	} {
		_, ok := procfs.MountOptions(text, "22")
		c.Check(ok, qt.IsFalse, qt.Commentf("%q", text))
	}
	for n := range len("22 27 0:21 / /proc rw,relatime - proc proc rw") {
		if options, ok := procfs.MountOptions(mountinfo[:n], "22"); ok {
			c.Check(n >= len("22 27 0:21 / /proc rw,relatime - proc proc r"), qt.IsTrue)
			c.Check(options, qt.Equals, "r")
		}
	}
}

func TestNamespaceLinks(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	inode, err := procfs.NamespaceLink("pid:[4026531836]", nil)
	c.Check(err, qt.IsNil)
	c.Check(inode, qt.Equals, uint64(4026531836))
	for _, target := range []string{"", "pid:", "pid:[", "pid:[]", "pid:[0]", "pid:[-1]", "[1]", "pid:[18446744073709551616]", "/proc/1"} {
		_, err := procfs.NamespaceLink(target, nil)
		c.Check(err, qt.ErrorMatches, "no namespace: .*", qt.Commentf("%q", target))
	}
	_, err = procfs.NamespaceLink("pid:[1]", os.ErrPermission)
	c.Check(err, qt.Equals, os.ErrPermission)
}

func FuzzMountOptions(f *testing.F) {
	f.Add(mountinfo, "22")
	f.Add(mountinfo, "80")
	f.Add(mountinfo, "23")
	f.Add(`1 2 0:3 / /a\040\134 rw - proc proc rw,hidepid=2`, "1")
	f.Fuzz(func(t *testing.T, text, id string) {
		options, ok := procfs.MountOptions(text, id)
		if ok && (id == "" || !strings.Contains(text, options) || !strings.Contains(text, "proc")) {
			t.Fatalf("%q in %q: %q", id, text, options)
		}
	})
}

func FuzzStatusField(f *testing.F) {
	f.Add([]byte(status), "Tgid")
	f.Add([]byte(status), "NSpid")
	f.Add([]byte("mnt_id:\t21\n"), "mnt_id")
	f.Fuzz(func(t *testing.T, text []byte, field string) {
		value, ok := procfs.StatusField(text, field)
		if ok && !bytes.Contains(text, []byte(field+":")) || !bytes.Contains(text, []byte(value)) {
			t.Fatalf("%q in %q: %q", field, text, value)
		}
	})
}

func FuzzNamespaceLink(f *testing.F) {
	f.Add("pid:[4026531836]")
	f.Add("time:[4026531834]")
	f.Add("pid:[0]")
	f.Fuzz(func(t *testing.T, target string) {
		inode, err := procfs.NamespaceLink(target, nil)
		if (inode == 0) != (err != nil) {
			t.Fatalf("%q: %d, %v", target, inode, err)
		}
	})
}
