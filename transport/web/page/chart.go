package page

import (
	"fmt"
	"strings"
	"time"
)

// The inside of a chart's drawing; the page stretches it.
const (
	chartWidth  = 600
	chartHeight = 120
)

// Chart draws a few series over the same time, from zero up to the highest value.
type Chart struct {
	From, To time.Time
	Gap      time.Duration // points further apart are not joined
	Series   []Series      // told apart by their stroke, not by colour alone
	Format   func(float64) string
	Span     string // what From is called, as "an hour ago"
}

// Series is one line of a chart.
type Series struct {
	Name   string
	Points []Point
}

// Point is a value at a time.
type Point struct {
	At    time.Time
	Value float64
}

// Box is the coordinates of the drawing.
func (c *Chart) Box() string { return fmt.Sprintf("0 0 %d %d", chartWidth, chartHeight) }

// Peak is the highest value of all series.
func (c *Chart) Peak() float64 {
	peak := 0.0
	for _, s := range c.Series {
		peak = max(peak, s.peak())
	}
	return peak
}

// Top is the peak in words.
func (c *Chart) Top() string { return c.Format(c.Peak()) }

func (s Series) peak() float64 {
	peak := 0.0
	for _, p := range s.Points {
		peak = max(peak, p.Value)
	}
	return peak
}

// Label says what is to be seen to those who cannot see it.
func (c *Chart) Label() string {
	parts := make([]string, 0, len(c.Series))
	for _, s := range c.Series {
		text := s.Name + ": nothing measured yet"
		if n := len(s.Points); n > 0 {
			text = fmt.Sprintf("%s: %s now, at most %s", s.Name, c.Format(s.Points[n-1].Value), c.Format(s.peak()))
		}
		parts = append(parts, text)
	}
	return "Since " + c.Span + ". " + strings.Join(parts, "; ")
}

// Path is the line of a series as the d of an SVG path.
func (c *Chart) Path(s Series) string {
	span, peak := c.To.Sub(c.From).Seconds(), max(c.Peak(), 1)
	var b strings.Builder
	var before time.Time
	for _, p := range s.Points {
		if p.At.Before(c.From) {
			continue
		}
		verb := 'L'
		if b.Len() == 0 || p.At.Sub(before) > c.Gap {
			verb = 'M'
		}
		before = p.At
		x := p.At.Sub(c.From).Seconds() / span * chartWidth
		y := chartHeight - p.Value/peak*(chartHeight-2) - 1 // half a stroke of room at both ends
		fmt.Fprintf(&b, "%c%.1f %.1f", verb, x, y)
		if verb == 'M' {
			b.WriteString("h.1") // a point without neighbours is a dot
		}
	}
	return b.String()
}
