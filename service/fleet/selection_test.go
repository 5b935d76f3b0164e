package fleet

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

func equal(n int) []float64 { return slices.Repeat([]float64{1000}, n) }

// uneven is n servers, of which a quarter has half a gigabit, half one, and a quarter
// two and a half.
func uneven(n int) []float64 {
	return slices.Concat(slices.Repeat([]float64{500}, n/4), equal(n/2), slices.Repeat([]float64{2500}, n/4))
}

// within are fleets that can carry what is offered, also in the burst.
func within() []scenario {
	base := scenario{interval: 10, gateways: 5, load: .62, burst: 2, lasts: 180}
	return []scenario{
		base.with("20 equal servers, records 10 s apart", func(s *scenario) { s.servers = equal(20) }),
		base.with("20 uneven servers, 1 s", func(s *scenario) { s.interval = 1 }),
		base.with("20 uneven servers, 10 s", func(s *scenario) {}),
		base.with("20 uneven servers, 30 s", func(s *scenario) { s.interval = 30 }),
	}
}

// beyond is offered a tenth more than it can carry.
func beyond() scenario {
	return scenario{name: "20 uneven servers, 10 s", servers: uneven(20), interval: 10, gateways: 5, load: .72, burst: 3, lasts: 180}
}

// dying loses three servers at once, and their calls come back.
func dying() scenario {
	return scenario{servers: uneven(20), interval: 10, gateways: 5, load: .62, burst: 1, lasts: 180, dying: .15}
}

// with is a variant of a scenario.
func (s scenario) with(name string, change func(*scenario)) scenario {
	s.name, s.servers = name, uneven(20)
	change(&s)
	return s
}

// variants are what else can differ, within the capacity and beyond it.
func variants() (calm, crowded []scenario) {
	for _, s := range []scenario{
		{name: "3 servers (0.5, 1 and 2.5 G), 20 gateways", servers: []float64{500, 1000, 2500}, gateways: 20},
		{name: "one gateway", gateways: 1},
		{name: "50 gateways", gateways: 50},
		{name: "another gateway takes over in the burst", gateways: 2, standby: true},
		{name: "calls of half an hour, burst of 5 times", lasts: 1800, burst: 5},
	} {
		calm = append(calm, s.or(within()[2]))
	}
	for _, s := range []scenario{
		{name: "20 equal servers", servers: equal(20)},
		{name: "records 30 s apart", interval: 30},
		{name: "one gateway", gateways: 1},
		{name: "20 gateways", gateways: 20},
		{name: "calls of one minute, burst of twice", lasts: 60, burst: 2},
		{name: "links that carry no more than the capacity", clipped: true},
	} {
		crowded = append(crowded, s.or(beyond()))
	}
	return calm, crowded
}

// or fills in from another scenario what this one does not say.
func (s scenario) or(o scenario) scenario {
	if s.servers == nil {
		s.servers = o.servers
	}
	if s.interval == 0 {
		s.interval = o.interval
	}
	if s.gateways == 0 {
		s.gateways = o.gateways
	}
	if s.burst == 0 {
		s.burst = o.burst
	}
	if s.lasts == 0 {
		s.lasts = o.lasts
	}
	s.load = o.load
	return s
}

// compare runs all rules through all scenarios: by scenario, then by rule, the mean of
// so many seeds from 1 on, save that the greatest utilisation is that of all.
func compare(scenarios []scenario, rules []contender, seeds int) [][]outcome {
	outcomes := make([][]outcome, len(scenarios))
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for s := range scenarios {
		outcomes[s] = make([]outcome, len(rules))
		for r := range rules {
			wg.Go(func() {
				slots <- struct{}{}
				outcomes[s][r] = mean(scenarios[s], rules[r], seeds)
				<-slots
			})
		}
	}
	wg.Wait()
	return outcomes
}

func mean(s scenario, c contender, seeds int) (m outcome) {
	for seed := range seeds {
		o := simulate(s, c.newRule, uint64(seed)+1)
		n := float64(seeds)
		m.overloaded += o.overloaded / n
		m.excess += o.excess / n
		m.p99 += o.p99 / n
		m.jain += o.jain / n
		m.toDead += o.toDead / n
		m.most = max(m.most, o.most)
	}
	return m
}

// TestSimulation is make simulate in a few seconds: what docs/selection.md says of
// the rules holds.
func TestSimulation(t *testing.T) {
	rules := contenders()
	for s, outcomes := range compare(within(), rules, 1) {
		s := within()[s]
		best := outcomes[0]
		if best.overloaded > 0 {
			t.Errorf("%s: two-draws leaves %.3f %% on overloaded servers", s.name, 100*best.overloaded)
		}
		for r, o := range outcomes {
			t.Logf("%s: %s: %.2f %% on overloaded servers, p99 %.2f, greatest %.2f", s.name, rules[r].name, 100*o.overloaded, o.p99, o.most)
			if o.jain > best.jain {
				t.Errorf("%s: %s has a fairness of %.4f, two-draws of %.4f", s.name, rules[r].name, o.jain, best.jain)
			}
			if burdened := s.interval >= 10 && (rules[r].name == "most-free" || rules[r].name == "round-robin" && s.servers[0] == 500); burdened && o.overloaded < .03 {
				t.Errorf("%s: %s leaves but %.2f %% on overloaded servers: the scenario shows nothing", s.name, rules[r].name, 100*o.overloaded)
			}
		}
	}
	outcomes := compare([]scenario{beyond()}, rules, 3)[0]
	best := outcomes[0]
	for r, o := range outcomes {
		t.Logf("beyond: %s: %.2f %% on overloaded servers, %.2f %% too much", rules[r].name, 100*o.overloaded, 100*o.excess)
		if o.overloaded < best.overloaded || o.excess < best.excess {
			t.Errorf("beyond: %s leaves less on overloaded servers, or less too much, than two-draws", rules[r].name)
		}
	}
}

// TestSimulateAll rewrites docs/selection.md and its chart: make simulate.
func TestSimulateAll(t *testing.T) {
	if os.Getenv("TURNWARDEN_SIMULATE") == "" {
		t.Skip("some minutes: make simulate runs it")
	}
	rules := contenders()
	doc, err := os.ReadFile("../../docs/selection.md")
	if err != nil {
		t.Fatal(err)
	}
	section := func(name string, scenarios []scenario, seeds int, show func([]scenario, []contender, [][]outcome) string) {
		text := show(scenarios, rules, compare(scenarios, rules, seeds))
		t.Logf("%s, seeds 1 to %d:\n%s", name, seeds, text)
		doc = replace(t, doc, name, fmt.Sprintf("Seeds 1 to %d.\n\n%s", seeds, text))
	}
	calm, crowded := variants()
	var large []scenario
	for _, n := range []int{100, 1000, 5000} {
		large = append(large, within()[2].with(fmt.Sprintf("%d uneven servers", n), func(s *scenario) { s.servers = uneven(n) }))
	}
	section("within", within(), 20, table)
	section("beyond", []scenario{beyond()}, 20, details)
	section("dying", []scenario{dying()}, 20, details)
	section("variants", calm, 10, table)
	section("variants beyond", crowded, 10, table)
	section("large", large, 1, table)
	if err := os.WriteFile("../../docs/selection.svg", drawChart(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("../../docs/selection.md", doc, 0o644); err != nil {
		t.Fatal(err)
	}
}

// table has a row for each scenario and a column for each rule.
func table(scenarios []scenario, rules []contender, outcomes [][]outcome) string {
	var b strings.Builder
	b.WriteString("| |")
	for _, r := range rules {
		fmt.Fprintf(&b, " %s |", r.name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(rules)) + "\n")
	for s := range scenarios {
		fmt.Fprintf(&b, "| %s |", scenarios[s].name)
		for _, o := range outcomes[s] {
			fmt.Fprintf(&b, " %s / %.2f / %.2f |", percent(o.overloaded), o.p99, o.most)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// details has a row for each rule and a column for each figure.
func details(_ []scenario, rules []contender, outcomes [][]outcome) string {
	var b strings.Builder
	b.WriteString("| | on overloaded servers | too much | p99 | greatest | fairness | first sent to a dead server |\n|---|---|---|---|---|---|---|\n")
	for r, o := range outcomes[0] {
		fmt.Fprintf(&b, "| %s | %s | %.2f %% | %.2f | %.2f | %.4f | %s |\n", rules[r].name, percent(o.overloaded), 100*o.excess, o.p99, o.most, o.jain, percent(o.toDead))
	}
	return b.String()
}

// percent shows a zero only where nothing at all was seen.
func percent(share float64) string {
	switch {
	case share == 0:
		return "0 %"
	case share < .001:
		return fmt.Sprintf("%.3f %%", 100*share)
	default:
		return fmt.Sprintf("%.1f %%", 100*share)
	}
}

// replace puts text between the marks of a section.
func replace(t *testing.T, doc []byte, section, text string) []byte {
	t.Helper()
	before, rest, found := bytes.Cut(doc, []byte("<!-- simulate: "+section+" -->\n"))
	_, after, closed := bytes.Cut(rest, []byte("<!-- end -->\n"))
	if !found || !closed {
		t.Fatalf("docs/selection.md has no section %q", section)
	}
	return slices.Concat(before, []byte("<!-- simulate: "+section+" -->\n"), []byte(text), []byte("<!-- end -->\n"), after)
}
