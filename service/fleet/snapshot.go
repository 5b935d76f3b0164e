package fleet

import (
	"slices"
	"strings"
	"time"
)

// fresh is how long after ZooKeeper's last answer what was read is still taken to be
// so. It is twice the time between two questions, and keeps the word that a revoked
// credential is handed out for two seconds at most.
const fresh = time.Second

// Snapshot is the fleet at one moment. It does not change.
type Snapshot struct {
	Nodes     []*Node   // by name
	Complete  bool      // all records have been read at least once
	Confirmed time.Time // ZooKeeper's last answer; zero before the first
	Rejected  int       // children that are there and make no sense, or are too many
	Held      int       // nodes that are shown although their record vanished
}

// Live says whether the snapshot is the present state of ZooKeeper, as far as anybody
// can know, and not just the last one that was seen.
func (s *Snapshot) Live(now time.Time) bool {
	return !s.Confirmed.IsZero() && now.Sub(s.Confirmed) <= fresh
}

// Find returns the node of that name, or nil.
func (s *Snapshot) Find(name string) *Node {
	i, ok := slices.BinarySearchFunc(s.Nodes, name, func(n *Node, name string) int { return strings.Compare(n.Name, name) })
	if !ok {
		return nil
	}
	return s.Nodes[i]
}

// Candidates are the nodes as the picker sees them.
func (s *Snapshot) Candidates() []Candidate {
	candidates := make([]Candidate, len(s.Nodes))
	for i, n := range s.Nodes {
		candidates[i] = n.Candidate()
	}
	return candidates
}

// Sum is what the nodes have together that may be picked.
type Sum struct {
	Nodes, Allocations     int
	FreeMbps, CapacityMbps float64
}

// Sum adds them up.
func (s *Snapshot) Sum() (sum Sum) {
	for _, n := range s.Nodes {
		if n.Candidate().Up {
			sum.Nodes++
			sum.Allocations += n.Record.Allocations
			sum.FreeMbps += n.Record.FreeTraffic
			sum.CapacityMbps += n.Record.CapacityMbps
		}
	}
	return sum
}
