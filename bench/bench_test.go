package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"os"
	"slices"
	"testing"

	qt "github.com/frankban/quicktest"
)

func TestMain(m *testing.M) {
	if played, err := playRole(); played {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// Benchmark runs each side of each row once. The command runs them in turns.
func Benchmark(b *testing.B) {
	c := qt.New(b)
	s, err := newSuite(b.Context(), options{records: []int{1000}, watched: 100, dir: b.TempDir()})
	c.Assert(err, qt.IsNil)
	defer s.close()
	for _, row := range slices.Concat(s.calls, s.passes) {
		b.Run(row.name, func(b *testing.B) {
			for _, side := range row.sides {
				b.Run("side="+side.name, side.bench)
			}
		})
	}
}

func TestTargets(t *testing.T) {
	c := qt.New(t)
	all := results{
		{"row", ours, nsOp}: {3, 12, 4},
		{"row", inC, nsOp}:  {2, 3, 4},
		{"big", ours, nsOp}: {42},
	}
	tests := []struct {
		name   string
		row    string
		target target
		want   outcome
	}{
		{"ratio of medians", "row", target{unit: nsOp, per: inC, most: 1.4}, outcome{got: 4. / 3, low: 1, high: 4, known: true, met: true}},
		{"over the limit", "row", target{unit: nsOp, per: inC, most: 1.3}, outcome{got: 4. / 3, low: 1, high: 4, known: true}},
		{"under the limit", "row", target{unit: nsOp, per: inC, least: 1.4}, outcome{got: 4. / 3, low: 1, high: 4, known: true}},
		{"figure by itself", "row", target{unit: nsOp, most: 4}, outcome{got: 4, low: 3, high: 12, known: true, met: true}},
		{"another row", "big", target{unit: nsOp, row: "row", per: ours, most: 13}, outcome{got: 10.5, low: 14, high: 14, known: true, met: true}},
		{"not measured", "row", target{unit: nsOp, per: "nobody", most: 1}, outcome{}},
		{"not measured either", "none", target{unit: nsOp, most: 1}, outcome{}},
	}
	for _, test := range tests {
		c.Run(test.name, func(c *qt.C) {
			c.Assert(all.reach(test.row, test.target), qt.Equals, test.want)
		})
	}
}

func TestChart(t *testing.T) {
	c := qt.New(t)
	all := results{
		{rebootedRow(100), inC, nsOp}:   {2e7, 1e7, 3e7},
		{rebootedRow(1000), inC, nsOp}:  {2e8},
		{rebootedRow(1000), ours, nsOp}: {4e8},
	}
	got := all.chart([]int{100, 1000})
	c.Assert(got.lines, qt.HasLen, 2)
	c.Assert(got.lines[0].points, qt.HasLen, 2)
	c.Assert(got.lines[0].points[0] == (point{100, 0.02}), qt.IsTrue)
	var out bytes.Buffer
	c.Assert(got.write(&out), qt.IsNil)
	c.Assert(xml.Unmarshal(out.Bytes(), new(any)), qt.IsNil)
	c.Assert(new(chart).write(&out), qt.ErrorMatches, "no pass was measured")
}
