package fleet

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func seeded(r Rules) *Picker {
	p := NewPicker(r)
	p.random = rand.New(rand.NewPCG(1, 2)).Uint64
	return p
}

func nodesOf(picks []*Candidate) (nodes []string) {
	for _, c := range picks {
		nodes = append(nodes, c.Node)
	}
	return nodes
}

// TestShares looks at who gets how much where every pick is measured before the next.
func TestShares(t *testing.T) {
	const picks = 20_000
	for name, c := range map[string]struct {
		algorithm Algorithm
		free      []float64 // of 1000 Mbps
		want      []float64
	}{
		// The lesser of the two is taken only if both draws show it.
		"two-draws":                {TwoDraws, []float64{600, 400}, []float64{1 - .4*.4, .4 * .4}},
		"two-draws, three servers": {TwoDraws, []float64{500, 300, 200}, []float64{1 - .5*.5, .5*.5 - .2*.2, .2 * .2}},
		"two-draws, no room":       {TwoDraws, []float64{500, 10, 0}, []float64{1, 0, 0}},
		"p2c":                      {"p2c", []float64{600, 400}, []float64{.75, .25}},
		"p2c, no room":             {"p2c", []float64{600, 400, 9}, []float64{.75, .25, 0}},
		"round-robin":              {RoundRobin, []float64{900, 100, 0}, []float64{.5, .5, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			p := seeded(Rules{Algorithm: c.algorithm, ReserveMbps: 10})
			if c.algorithm == "p2c" {
				p2c(p)
			}
			got := make([]float64, len(c.free))
			var dst []*Candidate
			for n := range picks {
				if n%100 == 0 { // Nothing is measured in between, but a pick stands for next to nothing.
					view := make([]Candidate, len(c.free))
					for i, free := range c.free {
						view[i] = Candidate{Node: fmt.Sprint(i), Up: true, FreeMbps: free, CapacityMbps: 1000, Allocations: 1e9, Seq: uint64(n), IntervalSec: 10}
					}
					p.Update(view)
				}
				dst = p.Pick(dst[:0], Want{})
				got[slices.IndexFunc(c.free, func(f float64) bool { return f == dst[0].FreeMbps })] += 1.0 / picks
			}
			for i, want := range c.want {
				if sigma := math.Sqrt(want * (1 - want) / picks); math.Abs(got[i]-want) > 4*sigma+1e-9 {
					t.Errorf("shares are %.3f, want %.3f", got, c.want)
				}
			}
		})
	}
}

// TestDebits sends calls to servers while no record changes. They spread by headroom,
// and more evenly than lots alone would have it.
func TestDebits(t *testing.T) {
	spread := func(algorithm func(*Picker) *Candidate) (worst float64) {
		view := make([]Candidate, 10)
		for i := range view {
			view[i] = Candidate{Node: fmt.Sprint(i), Up: true, FreeMbps: 800, CapacityMbps: 1000, Allocations: 100, Seq: 1, IntervalSec: 10}
		}
		view[9].FreeMbps, view[9].CapacityMbps, view[9].Allocations = 1600, 2000, 200
		p := seeded(Rules{ReserveMbps: 10})
		p.Update(view)
		got := map[*Candidate]float64{}
		for range 1100 {
			got[algorithm(p)]++
		}
		for i := range view {
			worst = max(worst, math.Abs(got[&view[i]]/view[i].FreeMbps*800-100))
		}
		return worst
	}
	lots := spread(func(p *Picker) *Candidate {
		v := p.view.Load()
		return v.servers[v.roomy[place{}].lot(p.random())].candidate
	})
	picks := spread(func(p *Picker) *Candidate { return p.Pick(nil, Want{})[0] })
	if picks > 5 || picks > lots/2 {
		t.Errorf("of 100 calls to each, one server got %.0f too many or too few; %.0f by lots alone", picks, lots)
	}
}

// TestFull fills a fleet without room.
func TestFull(t *testing.T) {
	server := func(node string, free float64) Candidate {
		return Candidate{Node: node, Up: true, FreeMbps: free, CapacityMbps: 1000, Allocations: 500, Seq: 1, IntervalSec: 10}
	}
	for name, c := range map[string]struct {
		view []Candidate
		want []string // as if one after another were avoided
	}{
		"the least loaded":                {[]Candidate{server("a", 0), server("b", 8), server("c", 3)}, []string{"b", "c", "a"}},
		"the least loaded, all beyond":    {[]Candidate{server("a", -200), server("b", -100), server("c", -300)}, []string{"b", "a", "c"}},
		"who is beyond already":           {[]Candidate{server("a", 0), server("b", -200), server("c", -100)}, []string{"c", "b", "a"}},
		"not who is far beyond":           {[]Candidate{server("a", -900), server("b", 0), server("c", -600)}, []string{"b", "c", "a"}},
		"who refuses calls, last":         {[]Candidate{server("a", math.Inf(-1)), server("b", -900)}, []string{"b", "a"}},
		"who refuses calls, not no one":   {[]Candidate{server("a", math.Inf(-1)), {Node: "b", FreeMbps: 500}}, []string{"a"}},
		"nobody, for nobody serves":       {[]Candidate{{Node: "a", FreeMbps: 500}}, nil},
		"room is before all of the above": {[]Candidate{server("a", 0), server("b", -200), server("c", 11)}, []string{"c", "b", "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, algorithm := range []Algorithm{TwoDraws, RoundRobin} {
				p := NewPicker(Rules{Algorithm: algorithm, ReserveMbps: 10})
				p.Update(c.view)
				if got := nodesOf(p.Pick(nil, Want{N: 9})); !slices.Equal(got, c.want) {
					t.Errorf("%s: picked %v, want %v", algorithm, got, c.want)
				}
			}
		})
	}
}
