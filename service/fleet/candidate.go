package fleet

import (
	"math"

	"github.com/turnwarden/turnwarden/service/directory"
)

// Candidate is one server as the picker sees it.
type Candidate struct {
	Node         string
	Region, Zone string
	Up           bool    // it serves, and its record is fresh
	FreeMbps     float64 // negative where it carries more than its capacity; -Inf where it refuses further calls
	CapacityMbps float64 // 0 = not known
	Allocations  int
	Seq          uint64  // another number means that the load was measured again
	IntervalSec  float64 // between two measurements; each is the mean of one interval

	// Record is what the candidate was made from, for the caller: a pick refers to
	// the view that it was picked from. The picker does not look at it.
	Record *directory.Record
}

// defaultInterval is that of a record that does not say, in seconds.
const defaultInterval = 10

// NewCandidate reads a record for the picker. A node without a state announces the
// seed's two keys alone, and is up while it has free traffic.
func NewCandidate(r *directory.Record, fresh bool) Candidate {
	c := Candidate{
		Node:         r.Node,
		Region:       r.Region,
		Zone:         r.Zone,
		FreeMbps:     min(r.FreeTraffic, directory.FastestMbps),
		CapacityMbps: min(r.CapacityMbps, directory.FastestMbps),
		Allocations:  max(r.Allocations, 0),
		Seq:          r.Seq,
		IntervalSec:  r.IntervalSec,
		Record:       r,
	}
	if !(c.IntervalSec > 0) {
		c.IntervalSec = defaultInterval
	}
	if c.Seq == 0 {
		// Who writes the seed's keys alone does not count. Another figure at least
		// is another measurement.
		c.Seq = math.Float64bits(r.FreeTraffic)
	}
	switch r.State {
	case directory.StateUp:
		c.Up = fresh
		if used := max(r.RxMbps, r.TxMbps); r.FreeTraffic == 0 && r.CapacityMbps > 0 {
			// The record stops at zero; how far a server is beyond its capacity
			// decides who is picked when all are.
			c.FreeMbps = min(0, max(r.CapacityMbps-used, -directory.FastestMbps))
		}
	case directory.StateFull:
		// It refuses nearly every call (486, 508), yet somebody may just have hung
		// up: it is picked only when nobody else serves.
		c.Up = fresh
		c.FreeMbps = math.Inf(-1)
	case "":
		c.Up = fresh && r.FreeTraffic > 0
	}
	return c
}

// used is the load that the record shows, as far as it does.
func (c *Candidate) used() float64 {
	if c.CapacityMbps == 0 || math.IsInf(c.FreeMbps, -1) {
		return 0
	}
	return max(0, c.CapacityMbps-c.FreeMbps)
}

// calls is how many there are; of a server that does not say, one for each Mbps.
func (c *Candidate) calls() float64 {
	if c.Allocations > 0 {
		return float64(c.Allocations)
	}
	return c.used()
}
