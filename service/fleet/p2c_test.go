package fleet

// p2c has a picker draw two servers, all alike, and take the one with more Mbps left.
func p2c(p *Picker) *Picker {
	p.draw = func(g *group, random uint64) int32 { return g.members[int(share(random)*float64(len(g.members)))] }
	p.worth = (*view).left
	return p
}
