package fleet

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

const clients = 4000

// loyalFleet is servers of 500, 1000 and 2500 Mbps, about half full.
func loyalFleet(seq uint64) (view []Candidate) {
	for i, capacity := range slices.Concat(slices.Repeat([]float64{500}, 5), slices.Repeat([]float64{1000}, 10), slices.Repeat([]float64{2500}, 5)) {
		view = append(view, Candidate{
			Node: fmt.Sprint("turn-", i), Up: true, CapacityMbps: capacity, FreeMbps: capacity * (.4 + .2*rand.Float64()),
			Allocations: 1e9, Seq: seq, IntervalSec: 10, // a pick stands for next to nothing
		})
	}
	return view
}

// serversOf is where each client is sent.
func serversOf(p *Picker, n int) (all [][]string) {
	var dst []*Candidate
	for c := range clients {
		dst = p.Pick(dst[:0], Want{N: n, Client: fmt.Sprint("client ", c)})
		all = append(all, nodesOf(dst))
	}
	return all
}

// moved counts the clients by their first server before, of those who have another now.
func moved(before, after [][]string) (from, to map[string]int) {
	from, to = map[string]int{}, map[string]int{}
	for i := range before {
		if a, b := before[i][0], after[i][0]; a != b {
			from[a]++
			to[b]++
		}
	}
	return from, to
}

// TestLoyal: a client keeps its servers while loads change, at every gateway and by every
// rule; and only those move whose own server leaves, is full, or is avoided.
func TestLoyal(t *testing.T) {
	without := func(node string, change func(*Candidate)) []Candidate {
		view := loyalFleet(3)
		change(&view[slices.IndexFunc(view, func(c Candidate) bool { return c.Node == node })])
		return view
	}
	p := NewPicker(Rules{ReserveMbps: 10})
	p.Update(loyalFleet(1))
	before := serversOf(p, 3)
	other := NewPicker(Rules{Algorithm: RoundRobin, ReserveMbps: 10})
	for seq := range uint64(2) {
		p.Update(loyalFleet(seq + 2))
		other.Update(loyalFleet(seq + 2))
		for _, p := range []*Picker{p, other} {
			if after := serversOf(p, 3); !slices.EqualFunc(before, after, slices.Equal) {
				t.Fatal("clients have moved, and nothing but the load has changed")
			}
		}
		for i, one := range serversOf(p, 1)[:100] {
			if one[0] != before[i][0] {
				t.Errorf("alone %s, as the first of three %s", one[0], before[i][0])
			}
		}
	}
	for name, view := range map[string][]Candidate{
		"down":     without("turn-7", func(c *Candidate) { c.Up = false }),
		"full":     without("turn-7", func(c *Candidate) { c.FreeMbps = 9 }),
		"too full": without("turn-7", func(c *Candidate) { c.FreeMbps = math.Inf(-1) }),
		"renamed":  without("turn-7", func(c *Candidate) { c.Node = "turn-99" }),
	} {
		p.Update(view)
		from, to := moved(before, serversOf(p, 1))
		if name == "renamed" { // one leaves, and another comes
			delete(from, "turn-7")
			if n := to["turn-99"]; n < clients/25-50 || n > clients/25+50 {
				t.Errorf("%s: the new one has %d of %d clients, want a 25th", name, n, clients)
			}
			for server, n := range from {
				if n > 50 {
					t.Errorf("%s: %d clients have left %s", name, n, server)
				}
			}
			continue
		}
		if len(from) != 1 || from["turn-7"] == 0 || len(to) != len(view)-1 {
			t.Errorf("%s: clients of %v moved, to %v; want those of turn-7 alone, to all others", name, from, to)
		}
		p.Update(loyalFleet(9))
		if from, _ := moved(before, serversOf(p, 1)); len(from) > 0 {
			t.Errorf("%s, and back: clients of %v have not come back", name, from)
		}
	}
	got := p.Pick(nil, Want{Client: "client 0", Avoid: func(node string) bool { return node == before[0][0] }})
	if got[0].Node != before[0][1] {
		t.Errorf("the first is avoided: %s, want the second, %s", got[0].Node, before[0][1])
	}
	none := loyalFleet(10)
	for i := range none {
		none[i].FreeMbps = 0
	}
	p.Update(none)
	if got := p.Pick(nil, Want{N: 2, Client: "client 0"}); len(got) != 2 {
		t.Errorf("%d servers, and none has room; want two all the same", len(got))
	}
}

// TestLoyalShares: a server has clients by its capacity, at the first place and at the second.
func TestLoyalShares(t *testing.T) {
	p := NewPicker(Rules{ReserveMbps: 10})
	view := loyalFleet(1)
	p.Update(view)
	sum := 0.0
	for _, c := range view {
		sum += c.CapacityMbps
	}
	got := map[string]float64{}
	for _, servers := range serversOf(p, 1) {
		got[servers[0]]++
	}
	for _, c := range view {
		share := c.CapacityMbps / sum
		if sigma := math.Sqrt(share * (1 - share) * clients); math.Abs(got[c.Node]-share*clients) > 4*sigma {
			t.Errorf("%s of %v Mbps has %v clients, want %.0f ± %.0f", c.Node, c.CapacityMbps, got[c.Node], share*clients, 4*sigma)
		}
	}
}

// TestHashOf: gateways of different versions send a client to the same servers, too.
func TestHashOf(t *testing.T) {
	for _, s := range []string{"", "turn-1", "Zürich"} {
		h := fnv.New64a()
		_, _ = h.Write([]byte(s))
		if got, want := hashOf(s), h.Sum64(); got != want {
			t.Errorf("%q: %#x, want %#x", s, got, want)
		}
	}
}

// TestLoyalPlaces: where a client wants to be comes first, and its second server is in
// another zone.
func TestLoyalPlaces(t *testing.T) {
	p := NewPicker(Rules{ReserveMbps: 10})
	p.Update(mixed(200))
	for c := range 1000 {
		got := p.Pick(nil, Want{N: 2, Region: "region-1", Zone: "zone-2", Client: fmt.Sprint(c)})
		if got[0].zone() != (place{"region-1", "zone-2"}) || got[1].Region != "region-1" || got[1].Zone == "zone-2" {
			t.Fatalf("%+v, %+v", got[0].zone(), got[1].zone())
		}
	}
}

// TestLoyalLoad: where every call is a client of its own, no server is overrun either.
func TestLoyalLoad(t *testing.T) {
	rule := contender{"client", func(random *rand.Rand) rule {
		return &loyal{shipped: production(Rules{ReserveMbps: 10})(random).(*shipped), random: random}
	}}
	o := compare(within()[2:3], []contender{rule}, 1)[0][0]
	t.Logf("%.2f %% on overloaded servers, p99 %.2f, greatest %.2f, fairness %.4f", 100*o.overloaded, o.p99, o.most, o.jain)
	if o.overloaded > 0 {
		t.Errorf("%.3f %% of the traffic is on overloaded servers", 100*o.overloaded)
	}
}

type loyal struct {
	*shipped
	random *rand.Rand
}

func (l *loyal) pick() *Candidate {
	l.dst = l.Pick(l.dst[:0], Want{Client: fmt.Sprint(l.random.Uint64())})
	return l.dst[0]
}
