package fleet

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// Algorithm names a rule that picks among the servers that have room.
type Algorithm string

const (
	// TwoDraws draws two servers by lot, weighted by their headroom, and takes the
	// one of which a greater part is left after what was sent there just now.
	TwoDraws Algorithm = "two-draws"
	// RoundRobin takes one after another: the seed's rule.
	RoundRobin Algorithm = "round-robin"
)

// Rules say how to pick; the zero Algorithm is TwoDraws.
type Rules struct {
	Algorithm    Algorithm
	Region, Zone string  // preferred where a Want names none
	ReserveMbps  float64 // a server with less left has no room
}

// Want is what one client is to get.
type Want struct {
	N            int    // how many servers, all distinct; 0 means 1
	Region, Zone string // preferred; a zone without a region is the zone of that name anywhere
	// Client, unless empty, is who gets them: the same name gets the same servers while
	// they have room, whatever the algorithm, at the price of looking at all of them.
	Client string
	// Avoid, unless nil, says of a node that it is picked only if there is no other.
	Avoid func(node string) bool
}

// Picker picks among the candidates of the last view. It is safe for concurrent use.
// A pick neither locks nor allocates, and as a rule it looks at two candidates.
type Picker struct {
	rules  Rules
	random func() uint64 // safe for concurrent use
	draw   func(g *group, random uint64) int32
	worth  func(v *view, i int32) float64 // of two draws the one that is worth more is taken

	view  atomic.Pointer[view]
	turns atomic.Uint64 // of round-robin

	mu       sync.Mutex // serialises Update
	accounts map[string]*account
}

// NewPicker returns a picker that has seen no server yet.
func NewPicker(r Rules) *Picker {
	p := &Picker{rules: r, random: rand.Uint64, draw: (*group).lot, worth: (*view).spare}
	p.Update(nil)
	return p
}

// Update replaces the view. The picker keeps the candidates, which must not change
// any more, and what it sent to each of them since their load was measured. The
// work is O(n): where many records change, gather them for a tenth of a second.
func (p *Picker) Update(candidates []Candidate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	accounts := make(map[string]*account, len(candidates))
	for i := range candidates {
		c := &candidates[i]
		a := p.accounts[c.Node]
		if a == nil {
			a = &account{seq: c.Seq, recent: c.calls()} // As if they were all ours, until we know.
		}
		a.measured(c)
		accounts[c.Node] = a
	}
	p.accounts = accounts
	p.view.Store(newView(candidates, accounts, p.rules.ReserveMbps))
}

// Pick appends up to want.N distinct servers, the best first. They are part of the
// view and stay what they are after the next Update. It appends none only when no
// candidate is up.
//
// In this order it prefers a server that need not be avoided; that has room; the
// region; the zone, or for the second server and those after it a zone that none of
// the others is in. When no server has room it takes the least loaded, wherever.
func (p *Picker) Pick(dst []*Candidate, want Want) []*Candidate {
	if want.Region == "" && want.Zone == "" {
		want.Region, want.Zone = p.rules.Region, p.rules.Zone
	}
	v := p.view.Load()
	first := len(dst)
	for range max(want.N, 1) {
		i := p.next(v, want, dst[first:])
		if i < 0 {
			break
		}
		v.servers[i].account.debit()
		dst = append(dst, v.servers[i].candidate)
	}
	return dst
}

// next returns the best server beside those taken, or -1.
func (p *Picker) next(v *view, want Want, taken []*Candidate) int32 {
	f := filter{avoid: want.Avoid, taken: taken}
	if want.Client != "" {
		f.loyal, f.client = true, hashOf(want.Client)
	}
	for {
		if i := p.nextOf(v, want, f); i >= 0 || f.avoid == nil {
			return i
		}
		f.avoid = nil
	}
}

func (p *Picker) nextOf(v *view, want Want, f filter) int32 {
	near := place{want.Region, want.Zone}
	if len(f.taken) > 0 {
		near.zone = ""
	}
	var last *group
	for _, g := range [...]*group{v.roomy[near], v.roomy[place{region: want.Region}], v.roomy[place{}], v.overflow} {
		if g == nil || g == last || len(g.members) == 0 {
			continue
		}
		last = g
		if f.newZone = g.otherZone(f.taken); f.newZone {
			if i := p.choose(v, g, f); i >= 0 {
				return i
			}
			f.newZone = false
		}
		if i := p.choose(v, g, f); i >= 0 {
			return i
		}
	}
	return -1
}

// choose returns the best member that passes, or -1 if it finds none with room.
func (p *Picker) choose(v *view, g *group, f filter) int32 {
	switch {
	case g == v.overflow:
		return p.fill(v, f)
	case f.loyal:
		return v.loyal(g, f.client, p.rules.ReserveMbps, f)
	case p.rules.Algorithm == RoundRobin:
		return v.following(g, p.turns.Add(1), f)
	}
	i := p.best(v, g, f)
	if i >= 0 && v.left(i) <= p.rules.ReserveMbps {
		return -1
	}
	return i
}

// maxDraws bounds the work of one pick: where so many draws have shown no server
// with room, own picks have filled nearly all of them.
const maxDraws = 4

// best returns the best of two draws, or of more as long as none has enough left.
//
// The same server drawn twice counts twice: of two servers the emptier is then taken
// three times of four and not always, for else all gateways would send everything
// to one of them until the next record.
func (p *Picker) best(v *view, g *group, f filter) int32 {
	best, passed := int32(-1), 0
	for range maxDraws {
		i := p.draw(g, p.random())
		if !f.passes(v.servers[i].candidate) {
			continue
		}
		passed++
		if best < 0 || p.worth(v, i) > p.worth(v, best) {
			best = i
		}
		if passed >= 2 && v.left(best) > p.rules.ReserveMbps {
			break
		}
	}
	if best < 0 {
		return v.following(g, p.random(), f)
	}
	return best
}

// fill returns the server that is to bear what is beyond the fleet's capacity.
func (p *Picker) fill(v *view, f filter) int32 {
	servers := v.overflow.members
	for k := v.filled.Load(); k < int64(len(servers)); k++ {
		i := servers[k]
		if v.left(i) < -tolerance*v.servers[i].capacity {
			v.filled.CompareAndSwap(k, k+1)
			continue
		}
		if f.passes(v.servers[i].candidate) {
			return i
		}
	}
	// All are: the least loaded of a sample.
	best, n := int32(-1), len(servers)
	draws, start := min(n, maxDraws), int(p.random()%uint64(n))
	for k := range draws {
		i := servers[(start+k*n/draws)%n]
		if f.passes(v.servers[i].candidate) && (best < 0 || p.worth(v, i) > p.worth(v, best)) {
			best = i
		}
	}
	if best < 0 {
		best = v.following(v.overflow, uint64(start), f)
	}
	return best
}
