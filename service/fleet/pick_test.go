package fleet

import (
	"math"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// TestPickKeepsItsWord holds picks from random fleets against the order of
// preferences that Pick promises, read off the candidates one by one.
func TestPickKeepsItsWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := Rules{
			Algorithm:   rapid.SampledFrom([]Algorithm{"", TwoDraws, RoundRobin}).Draw(t, "algorithm"),
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
			Client: rapid.SampledFrom([]string{"", "alice"}).Draw(t, "client"),
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

// TestPickAcrossUpdates picks while views come and go: what is picked is up in the
// view that it was picked from, and no pick is lost or counted twice.
func TestPickAcrossUpdates(t *testing.T) {
	p := NewPicker(Rules{ReserveMbps: 10})
	p.Update(mixed(50))
	const pickers, each = 4, 2000
	var wg sync.WaitGroup
	for range pickers {
		wg.Go(func() {
			var dst []*Candidate
			for range each {
				dst = p.Pick(dst[:0], Want{N: 2, Region: "region-1"})
				if len(dst) != 2 || dst[0] == dst[1] || !dst[0].Up || !dst[1].Up {
					t.Errorf("picked %v", dst)
					return
				}
			}
		})
	}
	for n := range 200 {
		view := mixed(50)
		for i := range view {
			view[i].Up = view[i].Up && (i+n)%7 != 0
		}
		p.Update(view)
	}
	wg.Wait()
	p.Update(mixed(50))
	var picks int64
	for _, a := range p.accounts {
		picks += a.now.Load() + a.before.Load()
	}
	if want := int64(pickers * each * 2); picks != want {
		t.Errorf("%d picks on the accounts, want %d", picks, want)
	}
}

func TestPickAllocatesNothing(t *testing.T) {
	full := mixed(1000)
	for i := range full {
		full[i].FreeMbps = -1
	}
	for name, view := range map[string][]Candidate{"1,000": mixed(1000), "5,000": mixed(5000), "all full": full} {
		p := NewPicker(Rules{ReserveMbps: 10})
		p.Update(view)
		dst := make([]*Candidate, 0, 3)
		avoid := func(node string) bool { return node == "turn-2" }
		for _, client := range []string{"", "alice"} {
			if allocs := testing.AllocsPerRun(1000, func() {
				dst = p.Pick(dst[:0], Want{N: 3, Region: "region-1", Zone: "zone-2", Client: client, Avoid: avoid})
			}); allocs > 0 || len(dst) != 3 {
				t.Errorf("%s, client %q: %v allocations for %d picks", name, client, allocs, len(dst))
			}
		}
	}
}
