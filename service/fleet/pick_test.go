package fleet

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/turnwarden/turnwarden/service/directory"
)

// TestPickKeepsItsWord holds picks from random fleets against the order of
// preferences that Pick promises, read off the candidates one by one.
func TestPickKeepsItsWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := Rules{
			Algorithm:   rapid.SampledFrom([]Algorithm{"", TwoDraws, RoundRobin, P2C}).Draw(t, "algorithm"),
			Region:      rapid.SampledFrom([]string{"", "eu"}).Draw(t, "own region"),
			ReserveMbps: rapid.SampledFrom([]float64{0, 10}).Draw(t, "reserve"),
		}
		candidates := rapid.SliceOfN(rapid.Custom(candidate), 0, 12).Draw(t, "candidates")
		for i := range candidates {
			candidates[i].Node = string(rune('a' + i))
		}
		avoided := rapid.SampledFrom([]string{"", "a", "ab", "abcdefghijkl"}).Draw(t, "avoided")
		want := Want{
			N:      rapid.IntRange(0, 5).Draw(t, "n"),
			Region: rapid.SampledFrom([]string{"", "eu", "us", "nowhere"}).Draw(t, "region"),
			Zone:   rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "zone"),
			Avoid:  func(node string) bool { return strings.Contains(avoided, node) },
		}
		p := NewPicker(rules)
		p.Update(candidates)
		got := p.Pick(nil, want)

		if want.Region == "" && want.Zone == "" {
			want.Region = rules.Region
		}
		rank := func(c *Candidate, taken []*Candidate) int {
			newZone := true
			for _, o := range taken {
				if o == c {
					return 0
				}
				newZone = newZone && (o.Region != c.Region || o.Zone != c.Zone)
			}
			if !c.Up {
				return 0
			}
			r := 1
			if !want.Avoid(c.Node) {
				r += 100
			}
			if c.FreeMbps <= rules.ReserveMbps {
				if len(taken) > 0 && newZone {
					r++
				}
				return r
			}
			r += 10
			inRegion := want.Region == "" || c.Region == want.Region
			if inRegion {
				r += 4
			}
			if len(taken) > 0 && newZone || len(taken) == 0 && inRegion && (want.Zone == "" || c.Zone == want.Zone) {
				r += 2
			}
			return r
		}
		for i, c := range got {
			best := 0
			for j := range candidates {
				best = max(best, rank(&candidates[j], got[:i]))
			}
			if r := rank(c, got[:i]); r == 0 || r < best {
				t.Fatalf("pick %d is %+v, of rank %d; there is one of rank %d", i, *c, r, best)
			}
		}
		up := 0
		for i := range candidates {
			if candidates[i].Up {
				up++
			}
		}
		if n := min(max(want.N, 1), up); len(got) != n {
			t.Fatalf("%d picks, want %d", len(got), n)
		}
	})
}

func candidate(t *rapid.T) Candidate {
	return Candidate{
		Region:       rapid.SampledFrom([]string{"", "eu", "us"}).Draw(t, "region"),
		Zone:         rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "zone"),
		Up:           rapid.Bool().Draw(t, "up"),
		FreeMbps:     rapid.SampledFrom([]float64{math.Inf(-1), -20, 0, 5, 500, 2500}).Draw(t, "free"),
		CapacityMbps: rapid.SampledFrom([]float64{0, 100, 1000, 2500}).Draw(t, "capacity"),
		Seq:          rapid.Uint64Range(0, 2).Draw(t, "seq"),
	}
}

func TestNewCandidate(t *testing.T) {
	for name, c := range map[string]struct {
		record directory.Record
		fresh  bool
		want   Candidate
	}{
		"up": {
			directory.Record{Node: "a", Region: "eu", Zone: "1", State: "up", FreeTraffic: 700, CapacityMbps: 1000, RxMbps: 300, TxMbps: 200, Allocations: 9, Seq: 4},
			true,
			Candidate{Node: "a", Region: "eu", Zone: "1", Up: true, FreeMbps: 700, CapacityMbps: 1000, Allocations: 9, Seq: 4},
		},
		"beyond its capacity":          {directory.Record{State: "up", CapacityMbps: 1000, RxMbps: 300, TxMbps: 1200}, true, Candidate{Up: true, FreeMbps: -200, CapacityMbps: 1000}},
		"refuses calls":                {directory.Record{State: "full", CapacityMbps: 1000}, true, Candidate{Up: true, FreeMbps: math.Inf(-1), CapacityMbps: 1000}},
		"stale":                        {directory.Record{State: "up", FreeTraffic: 700, CapacityMbps: 1000}, false, Candidate{FreeMbps: 700, CapacityMbps: 1000}},
		"down":                         {directory.Record{State: "down", CapacityMbps: 1000}, true, Candidate{CapacityMbps: 1000}},
		"the seed's keys":              {directory.Record{FreeTraffic: 812.4}, true, Candidate{Up: true, FreeMbps: 812.4}},
		"the seed's keys, no room":     {directory.Record{}, true, Candidate{}},
		"more than any link can carry": {directory.Record{State: "up", FreeTraffic: 1e300, CapacityMbps: 1e300, Allocations: -1}, true, Candidate{Up: true, FreeMbps: 800_000, CapacityMbps: 800_000}},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.Record = &c.record
			if diff := cmp.Diff(c.want, NewCandidate(&c.record, c.fresh)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPickAllocatesNothing(t *testing.T) {
	for _, n := range []int{1000, 5000} {
		p := NewPicker(Rules{ReserveMbps: 10})
		p.Update(mixed(n))
		dst := make([]*Candidate, 0, 3)
		avoid := func(node string) bool { return node == "turn-2" }
		if allocs := testing.AllocsPerRun(1000, func() {
			dst = p.Pick(dst[:0], Want{N: 3, Region: "region-1", Zone: "zone-2", Avoid: avoid})
		}); allocs > 0 || len(dst) != 3 {
			t.Errorf("%d servers: %v allocations for %d picks", n, allocs, len(dst))
		}
	}
}
