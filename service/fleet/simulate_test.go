package fleet

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
)

// scenario is one fleet and what happens to it.
type scenario struct {
	name     string
	servers  []float64 // the capacity of each, Mbps
	interval int       // seconds between two records of a server; each shows the mean load since the one before
	gateways int       // each picks on its own, from the same records
	load     float64   // offered traffic, as a share of the fleet's capacity
	burst    float64   // so many times the calls, for burstFor
	lasts    float64   // mean length of a call, seconds
	dying    float64   // this share of the servers dies when the burst begins
	standby  bool      // the first gateway works alone until the burst, and not at all from then on
	clipped  bool      // a record shows no more load than the capacity
}

// What all scenarios have in common, in seconds and Mbps.
const (
	leastWarmUp = 600  // from an empty fleet; or three calls
	measured    = 1200 // after the warm-up
	burstAt     = 300  // into what is measured
	burstFor    = 60
	deadListed  = 12 // a dead server's record stays: the session timeout, a tick of ZooKeeper, a second
	redialsFor  = 10 // the calls of dead servers come back

	callMbps     = 2 // mean of the exponential distribution, which is cut
	callMostMbps = 8 // here
	callRamp     = 3 // seconds until a call has all its bandwidth
	maxTries     = 3 // then a client gives up
)

// outcome is what became of one rule in one scenario.
type outcome struct {
	overloaded float64 // share of the traffic that is on servers beyond their capacity
	excess     float64 // share of the traffic that is beyond the capacity of its server
	p99, most  float64 // utilisation, over servers and seconds
	jain       float64 // fairness of utilisation (Jain's index), mean over time
	toDead     float64 // share of the calls that were sent to a dead server first
}

// event changes a server's load: a call that ramps up, or one that ends.
type event struct {
	server int32
	mbps   float32 // negative: the call ends
}

// world is a fleet that carries calls.
type world struct {
	scenario
	random  *rand.Rand
	events  [][]event // by second
	load    []float64
	calls   []int
	dead    []bool
	sum     []float64 // of load, since the last record
	records []Candidate
	index   map[string]int
	redials float64 // per second
}

// simulate runs one rule through one scenario. What the clients do depends on the
// seed alone, up to the rounding of the picks that they need.
func simulate(s scenario, newRule func(*rand.Rand) rule, seed uint64) outcome {
	n := len(s.servers)
	warmUp := max(leastWarmUp, 3*int(s.lasts))
	w := &world{
		scenario: s, random: rand.New(rand.NewPCG(seed, 0)), events: make([][]event, warmUp+measured),
		load: make([]float64, n), calls: make([]int, n), dead: make([]bool, n), sum: make([]float64, n), index: map[string]int{},
	}
	capacity := 0.0
	for i, mbps := range s.servers {
		capacity += mbps
		w.records = append(w.records, Candidate{
			Node: "turn-" + strconv.Itoa(i), Up: true, FreeMbps: mbps, CapacityMbps: mbps, IntervalSec: float64(s.interval),
		})
		w.index[w.records[i].Node] = i
	}
	rules := make([]rule, s.gateways)
	for g := range rules {
		rules[g] = newRule(rand.New(rand.NewPCG(seed, uint64(g)+1)))
	}
	meanMbps := callMbps * (1 - math.Exp(-float64(callMostMbps)/callMbps))
	rate := s.load * capacity / (meanMbps * s.lasts)
	var t tally
	for now := range len(w.events) {
		since := now - warmUp - burstAt // the beginning of the burst
		if since == 0 {
			w.kill()
		}
		w.advance(now, since)
		for _, r := range rules {
			r.update(w.records)
		}
		calls := rate
		if since >= 0 && since < burstFor {
			calls *= s.burst
		}
		if since >= 0 && since < redialsFor {
			calls += w.redials
		}
		for range poisson(w.random, calls) {
			tries := w.place(now, rules[w.gateway(since)])
			if now >= warmUp {
				t.call(tries)
			}
		}
		if now >= warmUp {
			t.second(w)
		}
	}
	return t.outcome()
}

// kill ends every so many servers. Their calls are to be placed anew.
func (w *world) kill() {
	n := len(w.load)
	for k := range int(w.dying * float64(n)) {
		i := k * 7 % n
		w.dead[i] = true
		w.redials += float64(w.calls[i]) / redialsFor
		w.load[i] = 0
	}
}

// advance lets a second pass and the servers write their records.
func (w *world) advance(now, sinceBurst int) {
	for _, e := range w.events[now] {
		if w.dead[e.server] {
			continue
		}
		w.load[e.server] += float64(e.mbps)
		if e.mbps < 0 {
			w.calls[e.server]--
		}
	}
	w.events[now] = nil
	w.records = slices.Clone(w.records)
	for i := range w.records {
		r := &w.records[i]
		w.sum[i] += w.load[i]
		switch {
		case w.dead[i]:
			r.Up = sinceBurst < deadListed
		case (now+i*7919)%w.interval == 0: // Each in a second of its own, as far as there are seconds.
			r.FreeMbps = r.CapacityMbps - w.sum[i]/float64(w.interval)
			if w.clipped {
				r.FreeMbps = max(0, r.FreeMbps)
			}
			r.Allocations = w.calls[i]
			r.Seq++
			w.sum[i] = 0
		}
	}
}

// gateway is which one a client asks.
func (w *world) gateway(sinceBurst int) int {
	switch {
	case !w.standby:
		return w.random.IntN(w.gateways)
	case sinceBurst < 0:
		return 0
	default:
		return 1 + w.random.IntN(w.gateways-1)
	}
}

// place picks a server for a new call and returns how many dead ones came first.
func (w *world) place(now int, r rule) (dead int) {
	mbps := min(w.random.ExpFloat64()*callMbps, callMostMbps)
	ends := now + callRamp + 1 + int(w.random.ExpFloat64()*w.lasts)
	i := w.index[r.pick().Node]
	for w.dead[i] {
		if dead++; dead == maxTries {
			return dead
		}
		i = w.index[r.pick().Node]
	}
	w.calls[i]++
	for k := range callRamp {
		w.at(now+1+k, event{int32(i), float32(mbps / callRamp)})
	}
	w.at(ends, event{int32(i), float32(-mbps)})
	return dead
}

func (w *world) at(second int, e event) {
	if second < len(w.events) {
		w.events[second] = append(w.events[second], e)
	}
}

func poisson(random *rand.Rand, mean float64) int {
	if mean > 50 { // The normal distribution is near enough.
		return max(0, int(math.Round(mean+random.NormFloat64()*math.Sqrt(mean))))
	}
	n := 0
	for p := random.ExpFloat64(); p < mean; p += random.ExpFloat64() {
		n++
	}
	return n
}

// tally sums up the seconds of one simulation.
type tally struct {
	traffic, overloaded, excess float64
	jain, seconds               float64
	calls, toDead               float64
	utilisation                 []float32
}

func (t *tally) call(dead int) {
	t.calls++
	if dead > 0 {
		t.toDead++
	}
}

func (t *tally) second(w *world) {
	sum, squares, alive := 0.0, 0.0, 0.0
	for i, load := range w.load {
		if w.dead[i] {
			continue
		}
		u := load / w.servers[i]
		t.traffic += load
		if u > 1 {
			t.overloaded += load
			t.excess += load - w.servers[i]
		}
		t.utilisation = append(t.utilisation, float32(u))
		sum, squares, alive = sum+u, squares+u*u, alive+1
	}
	t.jain += sum * sum / (alive * squares)
	t.seconds++
}

func (t *tally) outcome() outcome {
	slices.Sort(t.utilisation)
	return outcome{
		overloaded: t.overloaded / t.traffic,
		excess:     t.excess / t.traffic,
		p99:        float64(t.utilisation[len(t.utilisation)*99/100]),
		most:       float64(t.utilisation[len(t.utilisation)-1]),
		jain:       t.jain / t.seconds,
		toDead:     t.toDead / t.calls,
	}
}
