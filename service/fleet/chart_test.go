package fleet

import (
	"fmt"
	"slices"
	"strings"
)

// chart is one diagram: a line for each rule, of the share of the traffic that is on
// overloaded servers.
type chart struct {
	title, axis string
	ticks       []string
	most        float64 // where the vertical axis ends
	lines       [][]float64
}

const (
	chartWidth, chartHeight = 440, 300
	plotLeft, plotTop       = 50, 40
	plotWidth, plotHeight   = 370, 200
)

// drawChart simulates what the two diagrams show, and draws them.
func drawChart(rules []contender) []byte {
	staleness := chart{title: "The older the records", axis: "seconds between two records", most: .6}
	crowd := chart{title: "The greater the crowd", axis: "offered at the peak of a burst, as a share of the capacity", most: .6}
	var stale, crowds []scenario
	for _, seconds := range []int{1, 2, 5, 10, 15, 20, 30} {
		staleness.ticks = append(staleness.ticks, fmt.Sprint(seconds))
		stale = append(stale, within()[2].with("", func(s *scenario) { s.interval = seconds }))
	}
	for _, burst := range []float64{1, 1.5, 2, 2.25, 2.5, 2.75, 3} {
		s := beyond()
		s.burst = burst
		// A minute is a third of a call: so much of the additional calls gathers.
		crowd.ticks = append(crowd.ticks, fmt.Sprintf("%.2f", s.load*(1+(burst-1)*.2835)))
		crowds = append(crowds, s)
	}
	staleness.lines = overloads(compare(stale, rules, 5))
	crowd.lines = overloads(compare(crowds, rules, 5))

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", 2*chartWidth, chartHeight+30)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	staleness.draw(&b, 0)
	crowd.draw(&b, chartWidth)
	for r, rule := range rules {
		x := plotLeft + r*135
		fmt.Fprintf(&b, `<path d="M%d %dh20" stroke="%s" stroke-width="3"/><text x="%d" y="%d">%s</text>`+"\n",
			x, chartHeight+6, colour(r), x+26, chartHeight+10, rule.name)
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

func overloads(outcomes [][]outcome) [][]float64 {
	lines := make([][]float64, len(outcomes[0]))
	for _, rules := range outcomes {
		for r, o := range rules {
			lines[r] = append(lines[r], o.overloaded)
		}
	}
	return lines
}

// colour tells the rules apart, also for the colour-blind (Okabe and Ito).
func colour(rule int) string {
	return [...]string{"#009e73", "#56b4e9", "#0072b2", "#e69f00", "#999999", "#d55e00"}[rule]
}

func (c chart) draw(b *strings.Builder, left int) {
	fmt.Fprintf(b, `<g transform="translate(%d %d)">`+"\n", left+plotLeft, plotTop)
	fmt.Fprintf(b, `<text y="-20" font-weight="bold">%s: traffic on overloaded servers</text>`+"\n", c.title)
	for k := range 5 {
		y := plotHeight - k*plotHeight/4
		fmt.Fprintf(b, `<path d="M0 %dh%d" stroke="#ddd"/><text x="-6" y="%d" text-anchor="end">%.0f %%</text>`+"\n", y, plotWidth, y+4, 25*float64(k)*c.most)
	}
	x := func(k int) int { return k * plotWidth / (len(c.ticks) - 1) }
	for k, tick := range c.ticks {
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", x(k), plotHeight+18, tick)
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", plotWidth/2, plotHeight+38, c.axis)
	for r, line := range slices.Backward(c.lines) { // The first on top.
		points := make([]string, len(line))
		for k, share := range line {
			points[k] = fmt.Sprintf("%d,%.1f", x(k), plotHeight*(1-min(share/c.most, 1)))
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2.5"/>`+"\n", strings.Join(points, " "), colour(r))
	}
	b.WriteString("</g>\n")
}
