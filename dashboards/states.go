package dashboards

import (
	"fmt"
	"strconv"
	"strings"
)

// A state is one value of a label `state`, and its colour.
type state struct{ name, color string }

func nodeStates() []state {
	return []state{
		{"up", "green"}, {"warming", "blue"}, {"full", "yellow"}, {"draining", "purple"}, {"maintenance", "super-light-purple"}, {"down", "red"}, {"foreign_server", "dark-red"},
	}
}

func childStates() []state {
	return []state{{"running", "green"}, {"starting", "blue"}, {"backoff", "orange"}, {"stopping", "purple"}, {"stopped", "red"}}
}

func sessionStates() []state {
	return []state{{"connected", "green"}, {"connecting", "blue"}, {"disconnected", "orange"}, {"expired", "red"}}
}

func generationStates() []state {
	return []state{{"active", "green"}, {"retiring", "super-light-green"}, {"verified", "blue"}, {"pending", "yellow"}, {"revoked", "red"}}
}

// stateQuery turns the series of a state set, one per state, into one number per
// node: a timeline with a row per state is hard to read.
func stateQuery(metric string, states []state) string {
	return stateQueryBy("instance", metric, states)
}

func stateQueryBy(label, metric string, states []state) string {
	terms := make([]string, len(states))
	for i, s := range states {
		terms[i] = fmt.Sprintf(`sum by (%s) (%s{$node,state=%q}) * %d`, label, metric, s.name, i+1)
	}
	return strings.Join(terms, " + ")
}

// stateNames writes the names back.
func stateNames(states []state) setting {
	options := map[string]mapped{}
	for i, s := range states {
		options[strconv.Itoa(i+1)] = mapped{s.name, s.color, i}
	}
	return func(p *panel) {
		d := &p.FieldConfig.Defaults
		d.Mappings = append(d.Mappings, mapping{"value", options})
		d.Color = map[string]any{"mode": "thresholds"}
	}
}

// words names the values 0 and 1.
func words(zero, one mapped) mapping {
	one.Index = 1
	return mapping{"value", map[string]mapped{"0": zero, "1": one}}
}
