package fleet

import "math"

// loyal returns the server that a client has among the members, or -1 if none passes
// that has room.
//
// It is rendezvous hashing: each client has an order of its own of all servers, the same
// at every gateway, in which one of twice the capacity is twice as likely to come first.
// What servers carry does not change it, so that nobody moves while there is room; who
// leaves takes along only clients of its own, who comes takes no more than its share.
func (v *view) loyal(g *group, client uint64, reserve float64, f filter) int32 {
	best, first := int32(-1), math.Inf(1)
	for _, i := range g.members {
		s := &v.servers[i]
		u := uniform(client ^ s.hash)
		if 1-u >= first*s.weight {
			continue // -ln u is more than 1-u, and it is the logarithm that costs
		}
		// Of several such numbers, each divided by a weight, the least is that of each with a probability of its weight's share.
		if place := -math.Log(u) / s.weight; place < first && v.left(i) > reserve && f.passes(s.candidate) {
			best, first = i, place
		}
	}
	return best
}

// loyalty is what an order is made of; a capacity that is not known attracts nobody.
func loyalty(c *Candidate) (hash uint64, weight float64) {
	return hashOf(c.Node), max(c.CapacityMbps, 1)
}

// hashOf is FNV-1a, which is the same in every process and of every version.
func hashOf(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// uniform turns a hash into a number between 0 and 1, by the finalizer of SplitMix64: FNV
// leaves names that differ in their last letter close together.
func uniform(h uint64) float64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	h ^= h >> 31
	return (float64(h>>11) + .5) / (1 << 53)
}
