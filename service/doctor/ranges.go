package doctor

import (
	"net/netip"
	"slices"
	"strings"
)

// span is a range of addresses of one family, both ends included.
type span struct{ from, to netip.Addr }

// parseSpan reads a value of denied-peer-ip: an address, two with a dash between them, or
// a prefix.
func parseSpan(s string) (span, bool) {
	from, to, ranged := strings.Cut(s, "-")
	a, err := netip.ParseAddr(from)
	if err != nil {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return span{}, false
		}
		return prefixSpan(p), true
	}
	if !ranged {
		return span{a, a}, true
	}
	b, err := netip.ParseAddr(to)
	return span{a, b}, err == nil && a.BitLen() == b.BitLen()
}

func prefixSpan(p netip.Prefix) span {
	first := p.Masked().Addr()
	last := first.AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	to, _ := netip.AddrFromSlice(last)
	return span{first, to}
}

// covered says whether the union of spans holds all of want.
func covered(want span, spans []span) bool {
	spans = slices.Clone(spans)
	slices.SortFunc(spans, func(a, b span) int { return a.from.Compare(b.from) })
	next := want.from
	for _, s := range spans {
		if s.from.BitLen() != next.BitLen() || next.Less(s.from) || s.to.Less(next) {
			continue
		}
		if !s.to.Less(want.to) {
			return true
		}
		next = s.to.Next()
	}
	return false
}

// spans are the values of an option that names ranges, those that can be read.
func (c Conf) spans(name string) (all []span) {
	for _, o := range c.Options {
		if s, ok := parseSpan(o.Value); ok && o.Name == name {
			all = append(all, s)
		}
	}
	return all
}
