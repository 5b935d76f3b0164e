package fleet

import (
	"math"
	"slices"
	"sync/atomic"
)

// account counts what this picker sent to a node and the node's record cannot show
// yet. It outlives views.
//
// A record shows the mean of one interval. A call of the running interval is not in
// it, one of the interval that it measured is in it by half in the mean (all of it if
// the call came at the interval's beginning, nothing if at its end), older ones are
// in it: a pick is forgotten with the second measurement after it.
type account struct {
	seq    uint64 // Update alone uses it
	now    atomic.Int64
	before atomic.Int64
}

func (a *account) debit() { a.now.Add(1) }

func (a *account) picks() float64 {
	return float64(a.now.Load()) + float64(a.before.Load())/2
}

// measured tells the account which measurement the record holds.
func (a *account) measured(seq uint64) {
	if seq != a.seq {
		a.seq = seq
		a.before.Store(a.now.Swap(0))
	}
}

// server is what a pick needs of a candidate.
type server struct {
	candidate *Candidate
	account   *account
	free      float64
	capacity  float64
}

// place is where a client would like its server: "" is anywhere.
type place struct{ region, zone string }

// view is one state of the fleet, prepared for picks. Only the accounts change.
type view struct {
	servers  []server
	callMbps float64          // what one call is expected to add to a server's load
	roomy    map[place]*group // those with room
	up       *group           // all that serve; nil = none
}

// group is a set of servers to draw from, never empty.
type group struct {
	members []int32
	weights []float64 // summed up: the last is the sum of all
}

func (g *group) add(i int32, weight float64) {
	if n := len(g.weights); n > 0 {
		weight += g.weights[n-1]
	}
	g.members = append(g.members, i)
	g.weights = append(g.weights, weight)
}

// draw returns a member by lot.
func (g *group) draw(random uint64, weighted bool) int32 {
	share := float64(random>>11) / (1 << 53) // in [0, 1)
	n := len(g.members)
	if !weighted {
		return g.members[int(share*float64(n))]
	}
	i, _ := slices.BinarySearchFunc(g.weights, share*g.weights[n-1], func(sum, lot float64) int {
		if sum > lot {
			return 1
		}
		return -1
	})
	return g.members[min(i, n-1)]
}

func newView(candidates []Candidate, accounts map[string]*account, reserve float64) *view {
	v := &view{servers: make([]server, len(candidates)), roomy: map[place]*group{}}
	largest := 0.0
	for i := range candidates {
		largest = max(largest, candidates[i].CapacityMbps, candidates[i].FreeMbps)
	}
	load, calls := 1.0, 1.0 // Where there are no calls yet, one of 1 Mbps.
	for i := range candidates {
		c := &candidates[i]
		s := server{candidate: c, account: accounts[c.Node], free: c.FreeMbps, capacity: max(c.CapacityMbps, c.FreeMbps)}
		if c.CapacityMbps == 0 {
			// As if it were among the largest, and carried the rest: what is not
			// known does not attract calls.
			s.capacity = max(largest, 1)
		} else if c.Up && c.Allocations > 0 && !math.IsInf(c.FreeMbps, -1) {
			load += s.capacity - s.free
			calls += float64(c.Allocations)
		}
		v.servers[i] = s
		if !c.Up {
			continue
		}
		if v.up == nil {
			v.up = &group{}
		}
		v.up.add(int32(i), s.capacity)
		if s.free > reserve {
			v.addRoomy(int32(i), c, s.free)
		}
	}
	v.callMbps = load / calls
	return v
}

// addRoomy enters a server under every place that a client may ask for.
func (v *view) addRoomy(i int32, c *Candidate, weight float64) {
	places := []place{{}, {c.Region, ""}, {c.Region, c.Zone}, {"", c.Zone}}
	for n, at := range places {
		if slices.Contains(places[:n], at) {
			continue
		}
		if v.roomy[at] == nil {
			v.roomy[at] = &group{}
		}
		v.roomy[at].add(i, weight)
	}
}

// left is a server's headroom after what was sent there just now.
func (v *view) left(i int32) float64 {
	s := &v.servers[i]
	return s.free - v.callMbps*s.account.picks()
}

// following returns the first member that passes, from the given one on; -1 = none.
func (v *view) following(g *group, start uint64, f filter) int32 {
	n := uint64(len(g.members))
	for k := range n {
		if i := g.members[(start%n+k)%n]; f.passes(v.servers[i].candidate) {
			return i
		}
	}
	return -1
}

// filter says which candidates may be picked.
type filter struct {
	avoid   func(node string) bool
	taken   []*Candidate
	newZone bool // none of a zone that has been taken
}

func (f filter) passes(c *Candidate) bool {
	for _, t := range f.taken {
		if t == c || f.newZone && t.Region == c.Region && t.Zone == c.Zone {
			return false
		}
	}
	return f.avoid == nil || !f.avoid(c.Node)
}
