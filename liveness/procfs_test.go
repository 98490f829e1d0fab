package liveness_test

import (
	"os"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/liveness"
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
			got, ok := liveness.StatusField([]byte(test.status), test.field)
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

func TestProcMountOptions(t *testing.T) {
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
			options, ok := liveness.ProcMountOptions(mountinfo, test.id)
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
		_, ok := liveness.ProcMountOptions(text, "22")
		c.Check(ok, qt.IsFalse, qt.Commentf("%q", text))
	}
	for n := range len("22 27 0:21 / /proc rw,relatime - proc proc rw") {
		if options, ok := liveness.ProcMountOptions(mountinfo[:n], "22"); ok {
			c.Check(n >= len("22 27 0:21 / /proc rw,relatime - proc proc r"), qt.IsTrue)
			c.Check(options, qt.Equals, "r")
		}
	}
}

func TestNamespaceLinks(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	inode, err := liveness.ParseNamespaceLink("pid:[4026531836]", nil)
	c.Check(err, qt.IsNil)
	c.Check(inode, qt.Equals, uint64(4026531836))
	for _, target := range []string{"", "pid:", "pid:[", "pid:[]", "pid:[0]", "pid:[-1]", "[1]", "pid:[18446744073709551616]", "/proc/1"} {
		_, err := liveness.ParseNamespaceLink(target, nil)
		c.Check(err, qt.ErrorMatches, "no namespace: .*", qt.Commentf("%q", target))
	}
	_, err = liveness.ParseNamespaceLink("pid:[1]", os.ErrPermission)
	c.Check(err, qt.Equals, os.ErrPermission)
}
