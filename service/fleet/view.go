package fleet

import (
	"cmp"
	"slices"
	"sync/atomic"
)

// server is what a pick needs of a candidate.
type server struct {
	candidate *Candidate
	account   *account
	free      float64 // Mbps, as the record says
	ending    float64 // Mbps that calls will have freed by now
	capacity  float64 // Mbps
	hash      uint64  // of its name
	weight    float64 // in the orders of clients
}

// view is one state of the fleet, prepared for picks. All that changes is what the
// picker sent where.
type view struct {
	servers  []server
	pickMbps float64          // what stands behind one pick
	roomy    map[place]*group // the servers with room, by where they are wanted
	overflow *group           // all that serve, in the order in which they are filled when none has room
	filled   atomic.Int64     // so many of overflow are
}

func newView(candidates []Candidate, accounts map[string]*account, reserve float64) *view {
	v := &view{servers: make([]server, len(candidates)), roomy: map[place]*group{}}
	largest := 1.0
	for i := range candidates {
		largest = max(largest, candidates[i].CapacityMbps, candidates[i].FreeMbps)
	}
	var (
		traffic, calls, picks float64
		up                    []int32
		zones                 []place               // in the order in which they come
		roomy                 = map[place][]int32{} // by zone
	)
	for i := range candidates {
		c := &candidates[i]
		s := server{candidate: c, account: accounts[c.Node], free: c.FreeMbps, capacity: max(c.CapacityMbps, c.FreeMbps)}
		if c.CapacityMbps == 0 {
			s.capacity = largest // What is not known shall not attract calls.
		}
		s.hash, s.weight = loyalty(c)
		s.ending = c.used() * ended(c)
		v.servers[i] = s
		if !c.Up {
			continue
		}
		traffic += c.used()
		calls += c.calls()
		picks += s.account.recent
		up = append(up, int32(i))
		members, known := roomy[c.zone()]
		if !known {
			zones = append(zones, c.zone())
		}
		if s.free > reserve {
			members = append(members, int32(i))
		}
		roomy[c.zone()] = members
	}
	v.pickMbps = pickMbps(traffic, calls, picks)
	for _, zone := range zones {
		if members := roomy[zone]; len(members) > 0 {
			v.addRoomy(zone, members)
		}
	}
	v.overflow = &group{members: up, zones: zones}
	v.order(up)
	return v
}

// tolerance is how far beyond its capacity a server is filled when none has room.
// With half as much again each of its calls has to do with two thirds, which
// congestion control can arrange for.
const tolerance = 0.5

// order sets the order in which servers are filled when none has room. What exceeds
// the fleet's capacity hurts every call on the servers that have to bear it, and the
// fewer these are the better: first come those that are beyond their capacity
// already, then the least loaded.
func (v *view) order(up []int32) {
	type entry struct {
		turn   float64
		server int32
	}
	entries := make([]entry, len(up))
	for n, i := range up {
		turn := 1 - v.servers[i].free/v.servers[i].capacity // the load, 1 = full
		if turn > 1 && turn < 1+tolerance {
			turn -= 1 + tolerance
		}
		entries[n] = entry{turn, i}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.turn, b.turn), cmp.Compare(a.server, b.server))
	})
	for n := range entries {
		up[n] = entries[n].server
	}
}

// left is a server's headroom by now, in Mbps.
func (v *view) left(i int32) float64 {
	s := &v.servers[i]
	return s.free + s.ending - v.pickMbps*s.account.unseen()
}

// spare is the part of a server's capacity that is left.
func (v *view) spare(i int32) float64 { return v.left(i) / v.servers[i].capacity }

// place is where a server is, or where a client would like it: then "" is anywhere.
type place struct{ region, zone string }

func (c *Candidate) zone() place { return place{c.Region, c.Zone} }

// group is a set of servers to pick from.
type group struct {
	members []int32
	weights []float64 // free Mbps, summed up: the last is the sum of all
	zones   []place   // that the members are in
}

// addRoomy enters the servers of a zone that have room under every place that a
// client may ask for.
func (v *view) addRoomy(zone place, members []int32) {
	places := []place{{}, {zone.region, ""}, zone, {"", zone.zone}}
	for n, p := range places {
		if slices.Contains(places[:n], p) {
			continue
		}
		if v.roomy[p] == nil {
			v.roomy[p] = &group{}
		}
		v.roomy[p].add(zone, members, v.servers)
	}
}

func (g *group) add(zone place, members []int32, servers []server) {
	g.zones = append(g.zones, zone)
	g.members = append(g.members, members...)
	sum := 0.0
	if n := len(g.weights); n > 0 {
		sum = g.weights[n-1]
	}
	for _, i := range members {
		sum += servers[i].free
		g.weights = append(g.weights, sum)
	}
}

// lot returns a member by lot, weighted by what is free.
func (g *group) lot(random uint64) int32 {
	n := len(g.members)
	lot := share(random) * g.weights[n-1]
	low, high := 0, n-1 // the first sum above the lot; rounding must not lead beyond the last
	for low < high {
		if middle := (low + high) / 2; g.weights[middle] > lot {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return g.members[low]
}

// share makes a number in [0, 1) of a random one.
func share(random uint64) float64 { return float64(random>>11) / (1 << 53) }

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

// otherZone says whether a member is in another zone than all that were taken.
func (g *group) otherZone(taken []*Candidate) bool {
	for _, zone := range g.zones {
		if len(taken) > 0 && !slices.ContainsFunc(taken, func(t *Candidate) bool { return t.zone() == zone }) {
			return true
		}
	}
	return false
}

// filter says which candidates may be picked.
type filter struct {
	avoid   func(node string) bool
	taken   []*Candidate
	newZone bool // none of a zone that has been taken
	loyal   bool // those of a client, which the next is the hash of
	client  uint64
}

func (f filter) passes(c *Candidate) bool {
	for _, t := range f.taken {
		if t == c || f.newZone && t.zone() == c.zone() {
			return false
		}
	}
	return f.avoid == nil || !f.avoid(c.Node)
}
