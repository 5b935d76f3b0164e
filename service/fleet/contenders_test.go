package fleet

import (
	"math/rand/v2"
	"slices"
)

// rule is one way of choosing, as one gateway does it.
type rule interface {
	update(view []Candidate)
	pick() *Candidate
}

// contender is a rule that is compared.
type contender struct {
	name    string
	newRule func(*rand.Rand) rule
}

func contenders() []contender {
	return []contender{
		{"two-draws", production(Rules{Algorithm: TwoDraws, ReserveMbps: 10})},
		{"p2c", func(random *rand.Rand) rule {
			r := production(Rules{ReserveMbps: 10})(random).(*shipped)
			p2c(r.Picker)
			return r
		}},
		{"weighted random", naive(lot)},
		{"round-robin", production(Rules{Algorithm: RoundRobin, ReserveMbps: 10})},
		{"random", naive(random)},
		{"most-free", naive(mostFree)},
	}
}

// production is the code that ships.
func production(r Rules) func(*rand.Rand) rule {
	return func(random *rand.Rand) rule {
		p := NewPicker(r)
		p.random = random.Uint64
		return &shipped{Picker: p}
	}
}

type shipped struct {
	*Picker
	dst []*Candidate
}

func (s *shipped) update(view []Candidate) { s.Update(view) }

func (s *shipped) pick() *Candidate {
	s.dst = s.Pick(s.dst[:0], Want{})
	return s.dst[0]
}

// simple is a rule that knows the last records and nothing else.
type simple struct {
	random *rand.Rand
	choose func(*simple) *Candidate
	up     []*Candidate
	sums   []float64    // of what is free, server by server
	best   []*Candidate // those with most free
}

func naive(choose func(*simple) *Candidate) func(*rand.Rand) rule {
	return func(r *rand.Rand) rule { return &simple{random: r, choose: choose} }
}

func (s *simple) update(view []Candidate) {
	s.up, s.sums, s.best = s.up[:0], s.sums[:0], s.best[:0]
	sum, most := 0.0, 0.0
	for i := range view {
		c := &view[i]
		if !c.Up {
			continue
		}
		free := max(0, c.FreeMbps)
		sum += free
		if free > most {
			s.best, most = s.best[:0], free
		}
		if free == most {
			s.best = append(s.best, c)
		}
		s.up, s.sums = append(s.up, c), append(s.sums, sum)
	}
}

func (s *simple) pick() *Candidate { return s.choose(s) }

func random(s *simple) *Candidate { return s.up[s.random.IntN(len(s.up))] }

func mostFree(s *simple) *Candidate { return s.best[s.random.IntN(len(s.best))] }

// lot is one draw, weighted by what is free.
func lot(s *simple) *Candidate {
	sum := s.sums[len(s.sums)-1]
	if sum == 0 {
		return random(s)
	}
	i, _ := slices.BinarySearch(s.sums, s.random.Float64()*sum)
	return s.up[min(i, len(s.up)-1)]
}
