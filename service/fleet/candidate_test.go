package fleet

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/turnwarden/turnwarden/service/directory"
)

func TestNewCandidate(t *testing.T) {
	for name, c := range map[string]struct {
		record directory.Record
		fresh  bool
		want   Candidate
	}{
		"up": {
			directory.Record{Node: "a", Region: "eu", Zone: "1", State: "up", FreeTraffic: 700, CapacityMbps: 1000, RxMbps: 300, TxMbps: 200, Allocations: 9, Seq: 4, IntervalSec: 30},
			true,
			Candidate{Node: "a", Region: "eu", Zone: "1", Up: true, FreeMbps: 700, CapacityMbps: 1000, Allocations: 9, Seq: 4, IntervalSec: 30},
		},
		"beyond its capacity": {
			directory.Record{State: "up", CapacityMbps: 1000, RxMbps: 300, TxMbps: 1200, Seq: 1},
			true,
			Candidate{Up: true, FreeMbps: -200, CapacityMbps: 1000, Seq: 1, IntervalSec: 10},
		},
		"refuses calls": {
			directory.Record{State: "full", CapacityMbps: 1000, Seq: 1},
			true,
			Candidate{Up: true, FreeMbps: math.Inf(-1), CapacityMbps: 1000, Seq: 1, IntervalSec: 10},
		},
		"stale": {
			directory.Record{State: "up", FreeTraffic: 700, CapacityMbps: 1000, Seq: 1},
			false,
			Candidate{FreeMbps: 700, CapacityMbps: 1000, Seq: 1, IntervalSec: 10},
		},
		"down": {
			directory.Record{State: "down", CapacityMbps: 1000, Seq: 1},
			true,
			Candidate{CapacityMbps: 1000, Seq: 1, IntervalSec: 10},
		},
		"the seed's keys": {
			directory.Record{FreeTraffic: 812.4},
			true,
			Candidate{Up: true, FreeMbps: 812.4, Seq: math.Float64bits(812.4), IntervalSec: 10},
		},
		"the seed's keys, no room": {directory.Record{}, true, Candidate{IntervalSec: 10}},
		"more than any link can carry": {
			directory.Record{State: "up", FreeTraffic: 1e300, CapacityMbps: 1e300, Allocations: -1, Seq: 1, IntervalSec: -1},
			true,
			Candidate{Up: true, FreeMbps: 800_000, CapacityMbps: 800_000, Seq: 1, IntervalSec: 10},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.Record = &c.record
			if diff := cmp.Diff(c.want, NewCandidate(&c.record, c.fresh)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
