package report

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Plots are SVG pictures by name: one of the ratios of each scenario, and one for each figure that was measured at several sizes.
func Plots(runs []*Run) map[string]string {
	plots := map[string]string{}
	scenarios := map[string][]*Run{}
	for _, r := range runs {
		scenarios[r.Scenario] = append(scenarios[r.Scenario], r)
	}
	for name, all := range scenarios {
		file := strings.ReplaceAll(name, " ", "-")
		if svg := ratios(name, all); svg != "" {
			plots[file+"-ratios"] = svg
		}
		for _, c := range curves(all) {
			plots[file+"-"+strings.Map(letters, c.figure.Name)] = c.svg()
		}
	}
	return plots
}

func letters(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
		return r
	}
	return '-'
}

// axis maps values to places on a logarithmic scale.
type axis struct{ from, to, first, last float64 }

// logAxis covers the values in whole decades.
func logAxis(values []float64, first, last float64) axis {
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if v > 0 {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	if hi <= 0 {
		lo, hi = 1, 10
	}
	a := axis{from: math.Floor(math.Log10(lo)), to: math.Ceil(math.Log10(hi)), first: first, last: last}
	if a.from == a.to {
		a.to++
	}
	return a
}

func (a axis) place(v float64) float64 {
	if v <= 0 {
		return a.first
	}
	return a.first + (math.Log10(v)-a.from)/(a.to-a.from)*(a.last-a.first)
}

// decades are the powers of ten on the axis.
func (a axis) decades() (all []float64) {
	for e := a.from; e <= a.to; e++ {
		all = append(all, math.Pow(10, e))
	}
	return all
}

// picture collects SVG 1.1 elements.
type picture struct {
	strings.Builder
	width, height float64
}

func newPicture(width, height float64, title string) *picture {
	p := &picture{width: width, height: height}
	fmt.Fprintf(p, `<svg xmlns="http://www.w3.org/2000/svg" width="%g" height="%g" font-family="sans-serif" font-size="12"><rect width="100%%" height="100%%" fill="white"/>`, width, height)
	p.text(10, 18, "start", title)
	return p
}

func (p *picture) text(x, y float64, anchor, s string) {
	fmt.Fprintf(p, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, x, y, anchor, html.EscapeString(s))
}

func (p *picture) line(x1, y1, x2, y2 float64, colour string) {
	fmt.Fprintf(p, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`, x1, y1, x2, y2, colour)
}

func (p *picture) dot(x, y float64, colour string) {
	fmt.Fprintf(p, `<circle cx="%.1f" cy="%.1f" r="4" fill="%s"/>`, x, y, colour)
}

func (p *picture) done() string { return p.String() + "</svg>\n" }

// Colours of a plot.
const (
	grid     = "#ddd"
	oursInk  = "#1769aa"
	peerInk  = "#c4501b"
	limitInk = "#2e8b2e"
)

// ratios shows ours divided by the peer's, a line for each figure, and the targets as green marks.
func ratios(name string, runs []*Run) string {
	type row struct {
		label         string
		ratio, target float64
	}
	var rows []row
	values := []float64{1}
	for _, r := range runs {
		for _, f := range r.Figures {
			if v, ok := f.Against(); ok && v > 0 {
				rows = append(rows, row{r.title() + ": " + f.Name, v, f.Ratio})
				values = append(values, v)
			}
		}
	}
	if len(rows) == 0 {
		return ""
	}
	const left, pitch, top = 430, 20, 40
	bottom := top + pitch*float64(len(rows))
	p := newPicture(900, bottom+30, name+": tuplenet divided by "+runs[0].Peer+" (green: target)")
	x := logAxis(values, left, 870)
	for _, d := range x.decades() {
		p.line(x.place(d), top-10, x.place(d), bottom, grid)
		p.text(x.place(d), bottom+18, "middle", fmt.Sprintf("%g", d))
	}
	p.line(x.place(1), top-10, x.place(1), bottom, peerInk)
	for i, r := range rows {
		y := top + pitch*float64(i) + 6
		p.text(left-12, y+4, "end", r.label)
		p.line(x.place(1), y, x.place(r.ratio), y, oursInk)
		p.dot(x.place(r.ratio), y, oursInk)
		if r.target > 0 {
			p.line(x.place(r.target), y-8, x.place(r.target), y+8, limitInk)
		}
	}
	return p.done()
}

// curve is a figure over the size.
type curve struct {
	scenario, peer string
	figure         *Figure
	sizes          []float64
	ours, theirs   []float64
}

// curves are those of the figures that several runs have.
func curves(runs []*Run) (all []*curve) {
	by := map[string]*curve{}
	for _, r := range runs {
		for _, f := range r.Figures {
			c := by[f.Name]
			if c == nil {
				c = &curve{scenario: r.Scenario, peer: r.Peer, figure: f}
				by[f.Name] = c
				all = append(all, c)
			}
			c.sizes, c.ours, c.theirs = append(c.sizes, float64(r.Size)), append(c.ours, Median(f.Ours)), append(c.theirs, Median(f.Peer))
		}
	}
	several := all[:0]
	for _, c := range all {
		if len(c.sizes) > 1 {
			several = append(several, c)
		}
	}
	return several
}

func (c *curve) svg() string {
	p := newPicture(520, 340, fmt.Sprintf("%s: %s, %s", c.scenario, c.figure.Name, c.figure.Unit))
	x, y := logAxis(c.sizes, 70, 490), logAxis(append(append([]float64{}, c.ours...), c.theirs...), 290, 50)
	for _, d := range x.decades() {
		p.line(x.place(d), 50, x.place(d), 290, grid)
		p.text(x.place(d), 308, "middle", fmt.Sprintf("%g", d))
	}
	for _, d := range y.decades() {
		p.line(70, y.place(d), 490, y.place(d), grid)
		p.text(62, y.place(d)+4, "end", fmt.Sprintf("%g", d))
	}
	c.draw(p, x, y, c.ours, oursInk)
	c.draw(p, x, y, c.theirs, peerInk)
	p.dot(80, 326, oursInk)
	p.text(90, 330, "start", "tuplenet")
	if c.peer != "" {
		p.dot(180, 326, peerInk)
		p.text(190, 330, "start", c.peer)
	}
	return p.done()
}

// draw joins the points of one side; what was not measured is left out.
func (c *curve) draw(p *picture, x, y axis, values []float64, colour string) {
	var lastX, lastY float64
	for i, v := range values {
		if v <= 0 {
			continue
		}
		px, py := x.place(c.sizes[i]), y.place(v)
		if lastX > 0 {
			p.line(lastX, lastY, px, py, colour)
		}
		p.dot(px, py, colour)
		lastX, lastY = px, py
	}
}
