package fleet

import (
	"fmt"
	"slices"
	"testing"
)

// mixed is a fleet of n servers in three regions of three zones each.
func mixed(n int) []Candidate {
	sizes := []float64{500, 1000, 1000, 2500}
	candidates := make([]Candidate, n)
	for i := range candidates {
		capacity := sizes[i%len(sizes)]
		candidates[i] = Candidate{
			Node:         fmt.Sprintf("turn-%d", i),
			Region:       fmt.Sprintf("region-%d", i%3),
			Zone:         fmt.Sprintf("zone-%d", i/3%3),
			Up:           i%20 != 7,
			FreeMbps:     capacity * float64(1+i%9) / 10,
			CapacityMbps: capacity,
			Allocations:  i % 400,
			Seq:          1,
		}
	}
	return candidates
}

// BenchmarkPick picks for a client with a region and a zone. All is measured anew
// every 10,000 picks: with records 10 s apart, a thousand clients a second.
func BenchmarkPick(b *testing.B) {
	full := func(candidates []Candidate) []Candidate {
		for i := range candidates {
			candidates[i].FreeMbps = float64(-i % 100)
		}
		return candidates
	}
	near := Want{Region: "region-1", Zone: "zone-2"}
	for name, c := range map[string]struct {
		algorithm Algorithm
		view      []Candidate
		want      Want
	}{
		"two-draws/1000":          {TwoDraws, mixed(1000), near},
		"two-draws/5000":          {TwoDraws, mixed(5000), near},
		"two-draws/1000_all_full": {TwoDraws, full(mixed(1000)), near},
		"two-draws/5000_all_full": {TwoDraws, full(mixed(5000)), near},
		"round-robin/1000":        {RoundRobin, mixed(1000), near},
		"round-robin/5000":        {RoundRobin, mixed(5000), near},
		"client/1000":             {TwoDraws, mixed(1000), Want{Client: "alice"}},
		"client/5000":             {TwoDraws, mixed(5000), Want{Client: "alice"}},
	} {
		b.Run(name, func(b *testing.B) {
			p := NewPicker(Rules{Algorithm: c.algorithm, ReserveMbps: 10})
			p.Update(c.view)
			dst := make([]*Candidate, 0, 1)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%10_000 == 9_999 {
					b.StopTimer()
					c.view = slices.Clone(c.view)
					for j := range c.view {
						c.view[j].Seq++
					}
					p.Update(c.view)
					b.StartTimer()
				}
				dst = p.Pick(dst[:0], c.want)
			}
		})
	}
}

func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := NewPicker(Rules{ReserveMbps: 10})
			candidates := mixed(n)
			for b.Loop() {
				p.Update(candidates)
			}
		})
	}
}
