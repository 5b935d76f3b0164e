package dashboards

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sample is one line of the golden exposition of a node.
type sample struct {
	name, labels, value string // labels without the braces
	counter             bool
}

var sampleLine = regexp.MustCompile(`^([a-z_]+)(?:\{(.*)\})? (\S+)$`)

func golden(t *testing.T) []sample {
	t.Helper()
	text, err := os.ReadFile("../metrics/testdata/metrics.prom")
	if err != nil {
		t.Fatal(err)
	}
	var samples []sample
	kind := ""
	for line := range strings.Lines(string(text)) {
		if typed, ok := strings.CutPrefix(line, "# TYPE "); ok {
			kind = strings.Fields(typed)[1]
		}
		if m := sampleLine.FindStringSubmatch(strings.TrimSuffix(line, "\n")); m != nil {
			samples = append(samples, sample{m[1], m[2], m[3], kind != "gauge"})
		}
	}
	if len(samples) < 100 {
		t.Fatalf("only %d samples in the golden exposition", len(samples))
	}
	return samples
}

// TestMetricsExist: a query of a metric that nothing exports shows an empty panel
// and an alert that never fires.
func TestMetricsExist(t *testing.T) {
	known := []string{"up", "ALERTS"}
	for _, s := range golden(t) {
		known = append(known, s.name)
	}
	for _, r := range ruleFile(t, "rules/turnwarden.rules.yml") {
		known = append(known, r.Record)
	}
	for where, expr := range allExpressions(t) {
		for _, m := range metricUse.FindAllStringSubmatch(expr, -1) {
			if !slices.Contains(known, m[2]) {
				t.Errorf("%s: no such metric: %s", where, m[2])
			}
		}
	}
}

// allExpressions are those of dashboards and rules, by a name to find them by.
func allExpressions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for name, d := range generated() {
		for i, expr := range expressions(d) {
			all[fmt.Sprintf("%s, query %d", name, i)] = expr
		}
	}
	for _, file := range []string{"rules/turnwarden.rules.yml", "rules/turnwarden.alerts.yml"} {
		for _, r := range ruleFile(t, file) {
			all[r.Alert+r.Record] = r.Expr
		}
	}
	return all
}

// shownNowhere are the metrics that neither a dashboard nor a rule uses, and why.
func shownNowhere() map[string]string {
	return map[string]string{
		"process_max_fds":                              "turnwarden itself opens a handful",
		"process_network_receive_bytes_total":          "of the network namespace, not the process",
		"process_network_transmit_bytes_total":         "of the network namespace, not the process",
		"process_open_fds":                             "turnwarden itself opens a handful",
		"process_start_time_seconds":                   "for those who debug turnwarden itself",
		"process_virtual_memory_bytes":                 "of a Go program, says nothing",
		"process_virtual_memory_max_bytes":             "of a Go program, says nothing",
		"promhttp_metric_handler_errors_total":         "for those who debug turnwarden itself",
		"promhttp_metric_handler_requests_in_flight":   "for those who debug turnwarden itself",
		"promhttp_metric_handler_requests_total":       "for those who debug turnwarden itself",
		"turnwarden_allocation_duration_seconds_count": "its buckets are shown",
		"turnwarden_allocation_duration_seconds_sum":   "its buckets are shown",
		"turnwarden_allocation_relayed_bytes_sum":      "its buckets are shown",
		"turnwarden_child_up":                          "turnwarden_child_state says it",
		"turnwarden_credential_valid":                  "turnwarden_ready says it along with the rest",
		"turnwarden_draining":                          "turnwarden_state says it",
		"turnwarden_http_request_duration_seconds_sum": "its buckets are shown",
		"turnwarden_probe_duration_seconds_count":      "its buckets are shown",
		"turnwarden_probe_duration_seconds_sum":        "its buckets are shown",
		"turnwarden_probe_rtt_seconds_count":           "its buckets are shown",
		"turnwarden_probe_rtt_seconds_sum":             "its buckets are shown",
	}
}

// TestMetricsAreShown keeps metrics out that nobody looks at.
func TestMetricsAreShown(t *testing.T) {
	used := map[string]bool{}
	for _, expr := range allExpressions(t) {
		for _, m := range metricUse.FindAllStringSubmatch(expr, -1) {
			used[m[2]] = true
		}
	}
	excused := shownNowhere()
	exported := map[string]bool{}
	for _, s := range golden(t) {
		exported[s.name] = true
	}
	for name := range exported {
		if _, ok := excused[name]; ok == used[name] {
			t.Errorf("%s: shown %v, excused %v", name, used[name], ok)
		}
	}
	for name := range excused {
		if !exported[name] {
			t.Errorf("%s is excused and does not exist", name)
		}
	}
}
