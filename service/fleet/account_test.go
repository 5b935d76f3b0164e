package fleet

import (
	"math"
	"testing"
)

// TestForgets follows one pick through the records that come after it.
func TestForgets(t *testing.T) {
	p := NewPicker(Rules{})
	left := func(seq uint64) float64 {
		p.Update([]Candidate{{Node: "a", Up: true, FreeMbps: 1000, CapacityMbps: 5000, Allocations: 2000, Seq: seq, IntervalSec: 10}})
		return p.view.Load().left(0)
	}
	before := left(1)
	if want := 1000 + 4000*10.0/180; math.Abs(before-want) > .01 {
		t.Fatalf("%.2f Mbps left before any pick, want %.2f: of the calls some have ended", before, want)
	}
	p.Pick(nil, Want{})
	if got := p.view.Load().left(0) - before; math.Abs(got+2) > .01 {
		t.Errorf("a pick leaves %+.2f Mbps, want -2", got)
	}
	for n, want := range []float64{-2, -1, 0, 0} {
		if got := left(uint64(n)+1) - before; math.Abs(got-want) > .15 {
			t.Errorf("after %d measurements a pick leaves %+.2f Mbps, want %+v", n, got, want)
		}
	}
}

// TestPickMbps is what a pick stands for: one call where all calls are ours, five
// where we pick one of five, sixteen at most.
func TestPickMbps(t *testing.T) {
	for name, c := range map[string]struct{ traffic, calls, picks, want float64 }{
		"nothing known": {0, 0, 0, 1},
		"all are ours":  {20_000, 10_000, 10_000, 2},
		"one of five":   {20_000, 10_000, 2_000, 10},
		"idle till now": {20_000, 10_000, 0, 32},
	} {
		if got := pickMbps(c.traffic, c.calls, c.picks); math.Abs(got/c.want-1) > .01 {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
