package fleet

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestGuard plays absences to it, in seconds.
func TestGuard(t *testing.T) {
	const hold = 20 * time.Second
	for name, test := range map[string]struct {
		fleet    int
		vanishes map[string]float64 // node: when
		returns  map[string]float64
		want     map[float64]string // who is held then
	}{
		"one of three dies":   {3, map[string]float64{"a": 0}, nil, map[float64]string{0: "", 1: ""}},
		"half of them":        {4, map[string]float64{"a": 0, "b": 0}, nil, map[float64]string{0: ""}},
		"more than half":      {3, map[string]float64{"a": 0, "b": 0}, nil, map[float64]string{0: "ab", 19: "ab", 20: ""}},
		"all":                 {3, map[string]float64{"a": 0, "b": 0, "c": 0}, nil, map[float64]string{0: "abc", 19: "abc", 20: ""}},
		"the only one":        {1, map[string]float64{"a": 0}, nil, map[float64]string{0: "a", 20: ""}},
		"by and by":           {4, map[string]float64{"a": 0, "b": 1, "c": 2, "d": 2}, nil, map[float64]string{0: "", 1: "", 2: "abcd", 19: "abcd", 20: "bcd", 22: ""}},
		"one after another":   {3, map[string]float64{"a": 0, "b": 4, "c": 8}, nil, map[float64]string{0: "", 4: "", 8: "c"}},
		"they come back":      {3, map[string]float64{"a": 0, "b": 0, "c": 0}, map[string]float64{"a": 1, "c": 2}, map[float64]string{0: "abc", 1: "bc", 2: "b", 10: "b", 20: ""}},
		"none of them at all": {3, nil, nil, map[float64]string{0: ""}},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Unix(0, 0)
			g := newGuard(hold)
			present := test.fleet
			for s := range 50 {
				second := float64(s)
				now := start.Add(time.Duration(s) * time.Second)
				for n, at := range test.vanishes {
					if at == second {
						g.vanished(&Node{Name: n}, now)
						present--
					}
				}
				for n, at := range test.returns {
					if at == second {
						g.back(n)
						present++
					}
				}
				before := names(g.held())
				if changed := g.judge(present, now); changed != (names(g.held()) != before) {
					t.Errorf("second %v: changed %v, but %q is held after %q", second, changed, names(g.held()), before)
				}
				if want, ok := test.want[second]; ok && names(g.held()) != want {
					t.Errorf("second %v: %q is held, want %q", second, names(g.held()), want)
				}
			}
			for _, n := range g.held() {
				t.Errorf("%s is held for ever", n.Name)
			}
			if len(g.gone) > 0 {
				t.Error(fmt.Sprint("remembered for ever: ", g.gone))
			}
		})
	}
}

func names(nodes []*Node) string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.Name)
	}
	slices.Sort(all)
	return strings.Join(all, "")
}
