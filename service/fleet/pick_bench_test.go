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

func BenchmarkPick(b *testing.B) {
	for _, algorithm := range []Algorithm{TwoDraws, RoundRobin, P2C} {
		for _, n := range []int{1000, 5000} {
			b.Run(fmt.Sprintf("%s/%d", algorithm, n), func(b *testing.B) {
				p := NewPicker(Rules{Algorithm: algorithm, ReserveMbps: 10})
				candidates := mixed(n)
				p.Update(candidates)
				dst := make([]*Candidate, 0, 1)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if i%10_000 == 0 { // A view lasts at most an interval.
						b.StopTimer()
						candidates = slices.Clone(candidates)
						for j := range candidates {
							candidates[j].Seq++
						}
						p.Update(candidates)
						b.StartTimer()
					}
					dst = p.Pick(dst[:0], Want{Region: "region-1", Zone: "zone-2"})
				}
			})
		}
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
