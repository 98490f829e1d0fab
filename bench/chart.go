package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// chart is a picture of what a pass takes against the number of its records, both
// in powers of ten.
type chart struct {
	title string
	lines []line
}

// chart draws the passes after a reboot. What was not measured is left out.
func (r results) chart(records []int) chart {
	c := chart{title: "A pass that stops every record, after a reboot"}
	for _, side := range []string{inC, ours, carelessC} {
		l := line{name: side}
		for _, n := range records {
			if ns, ok := r.median(key{rebootedRow(n), side, nsOp}); ok {
				l.points = append(l.points, point{float64(n), ns / 1e9})
			}
		}
		if len(l.points) > 0 {
			c.lines = append(c.lines, l)
		}
	}
	return c
}

func rebootedRow(n int) string { return fmt.Sprintf("clean=rebooted/records=%d", n) }

type line struct {
	name   string
	points []point
}

type point struct{ records, seconds float64 }

const (
	width, height = 640, 400
	left, top     = 70, 50
	right, bottom = 150, 50
	plotWidth     = width - left - right
	plotHeight    = height - top - bottom
	colours       = 3
)

// write writes an SVG that is readable on light and on dark pages.
func (c chart) write(out io.Writer) error {
	if len(c.lines) == 0 {
		return errors.New("no pass was measured")
	}
	xs, ys := c.decades()
	x := func(v float64) float64 {
		return left + plotWidth*(math.Log10(v)-float64(xs[0]))/float64(xs[1]-xs[0])
	}
	y := func(v float64) float64 {
		return top + plotHeight*(float64(ys[1])-math.Log10(v))/float64(ys[1]-ys[0])
	}
	var err error
	printf := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(out, format, args...)
		}
	}
	printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s">
<style>
text { font: 13px sans-serif; fill: #333 } .grid { stroke: #ccc } polyline { fill: none; stroke-width: 2 }
.c0 { stroke: #1b6ac9; fill: #1b6ac9 } .c1 { stroke: #c2410c; fill: #c2410c } .c2 { stroke: #15803d; fill: #15803d }
text.c0, text.c1, text.c2 { stroke: none }
@media (prefers-color-scheme: dark) {
text { fill: #ddd } .grid { stroke: #555 }
.c0 { stroke: #6cb0ff; fill: #6cb0ff } .c1 { stroke: #ff9a62; fill: #ff9a62 } .c2 { stroke: #5fd38a; fill: #5fd38a }
}
polyline.c0, polyline.c1, polyline.c2 { fill: none }
</style>
<text x="%d" y="25">%s</text>
`, width, height, c.title, left, c.title)
	for decade := xs[0]; decade <= xs[1]; decade++ {
		at := x(math.Pow10(decade))
		printf(`<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			at, top, at, height-bottom, at, height-bottom+20, thousands(math.Pow10(decade)))
	}
	for decade := ys[0]; decade <= ys[1]; decade++ {
		at := y(math.Pow10(decade))
		printf(`<line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, at, width-right, at, left-8, at+4, duration(math.Pow10(decade)*1e9))
	}
	printf(`<text x="%d" y="%d" text-anchor="middle">records</text>`+"\n", left+plotWidth/2, height-10)
	for i, line := range c.lines {
		class := i % colours
		printf(`<polyline class="c%d" points="`, class)
		for _, p := range line.points {
			printf("%.1f,%.1f ", x(p.records), y(p.seconds))
		}
		printf(`"/>` + "\n")
		for _, p := range line.points {
			printf(`<circle class="c%d" cx="%.1f" cy="%.1f" r="3"/>`, class, x(p.records), y(p.seconds))
		}
		// The names stand below each other: the lines may end close together.
		printf(`<text class="c%d" x="%d" y="%d">%s</text>`+"\n", class, width-right+12, top+20+20*i, line.name)
	}
	printf("</svg>\n")
	return err
}

// decades returns the powers of ten that hold all points.
func (c chart) decades() (xs, ys [2]int) {
	var x, y []float64
	for _, line := range c.lines {
		for _, p := range line.points {
			x, y = append(x, math.Log10(p.records)), append(y, math.Log10(p.seconds))
		}
	}
	around := func(values []float64) [2]int {
		low, high := int(math.Floor(slices.Min(values))), int(math.Ceil(slices.Max(values)))
		return [2]int{low, max(high, low+1)}
	}
	return around(x), around(y)
}

func thousands(x float64) string {
	switch {
	case x >= 1e6:
		return fmt.Sprintf("%.0fM", x/1e6)
	case x >= 1e3:
		return fmt.Sprintf("%.0fk", x/1e3)
	default:
		return fmt.Sprintf("%.0f", x)
	}
}
