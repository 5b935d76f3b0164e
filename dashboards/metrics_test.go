package dashboards

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The golden expositions.
const (
	ofNode    = "../metrics/testdata/metrics.prom"
	ofGateway = "../metrics/testdata/gateway.prom"
)

// sample is one line of a golden exposition.
type sample struct {
	name, labels, value string // labels without the braces
	counter             bool
}

var sampleLine = regexp.MustCompile(`^([a-z_]+)(?:\{(.*)\})? (\S+)$`)

func golden(t *testing.T, file string) []sample {
	t.Helper()
	text, err := os.ReadFile(file)
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
// and an alert that never fires. Gateways do not export what nodes do.
func TestMetricsExist(t *testing.T) {
	recorded := []string{"up", "ALERTS"}
	for _, r := range ruleFile(t, "rules/turnwarden.rules.yml") {
		recorded = append(recorded, r.Record)
	}
	check := func(all map[string]string, files ...string) {
		t.Helper()
		known := recorded
		for _, file := range files {
			for _, s := range golden(t, file) {
				known = append(known, s.name)
			}
		}
		for where, expr := range all {
			for _, m := range metricUse.FindAllStringSubmatch(expr, -1) {
				if !slices.Contains(known, m[2]) {
					t.Errorf("%s: no such metric: %s", where, m[2])
				}
			}
		}
	}
	check(panelExpressions(ofNode), ofNode)
	check(panelExpressions(ofGateway), ofGateway)
	check(ruleExpressions(t), ofNode, ofGateway)
}

// panelExpressions are those of the dashboards about what exports file, by a name to
// find them by.
func panelExpressions(file string) map[string]string {
	all := map[string]string{}
	for name, d := range generated() {
		if about(d) != file {
			continue
		}
		for i, expr := range expressions(d) {
			all[fmt.Sprintf("%s, query %d", name, i)] = expr
		}
	}
	return all
}

// about is the exposition of what the dashboard shows.
func about(d dashboard) string {
	if d.UID == gatewayUID {
		return ofGateway
	}
	return ofNode
}

func ruleExpressions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, file := range []string{"rules/turnwarden.rules.yml", "rules/turnwarden.alerts.yml"} {
		for _, r := range ruleFile(t, file) {
			all[r.Alert+r.Record] = r.Expr
		}
	}
	return all
}

// shownNowhere are the metrics that neither a dashboard nor a rule uses, and why; after
// an exposition, those that none of its own uses.
func shownNowhere() map[string]string {
	return map[string]string{
		ofNode + " process_max_fds":                     "turnwarden itself opens a handful",
		"process_network_receive_bytes_total":           "of the network namespace, not the process",
		"process_network_transmit_bytes_total":          "of the network namespace, not the process",
		ofNode + " process_open_fds":                    "turnwarden itself opens a handful",
		ofNode + " process_start_time_seconds":          "for those who debug turnwarden itself",
		"process_virtual_memory_bytes":                  "of a Go program, says nothing",
		"process_virtual_memory_max_bytes":              "of a Go program, says nothing",
		"promhttp_metric_handler_errors_total":          "for those who debug turnwarden itself",
		"promhttp_metric_handler_requests_in_flight":    "for those who debug turnwarden itself",
		"promhttp_metric_handler_requests_total":        "for those who debug turnwarden itself",
		"turnwarden_allocation_duration_seconds_count":  "its buckets are shown",
		"turnwarden_allocation_duration_seconds_sum":    "its buckets are shown",
		"turnwarden_allocation_relayed_bytes_sum":       "its buckets are shown",
		"turnwarden_turnserver_up":                      "turnwarden_turnserver_state says it",
		"turnwarden_credential_valid":                   "turnwarden_ready says it along with the rest",
		"turnwarden_gateway_fetch_duration_seconds_sum": "its buckets are shown",
		"turnwarden_http_request_duration_seconds_sum":  "its buckets are shown",
		"turnwarden_probe_duration_seconds_count":       "its buckets are shown",
		"turnwarden_probe_duration_seconds_sum":         "its buckets are shown",
		"turnwarden_probe_rtt_seconds_count":            "its buckets are shown",
		"turnwarden_probe_rtt_seconds_sum":              "its buckets are shown",

		"turnwarden_config_last_reload_success_timestamp_seconds": "for whoever is told that the last one failed",
	}
}

// TestMetricsAreShown keeps metrics out that nobody looks at.
func TestMetricsAreShown(t *testing.T) {
	excused, known := shownNowhere(), map[string]bool{}
	for _, file := range []string{ofNode, ofGateway} {
		used := map[string]bool{}
		for _, all := range []map[string]string{panelExpressions(file), ruleExpressions(t)} {
			for _, expr := range all {
				for _, m := range metricUse.FindAllStringSubmatch(expr, -1) {
					used[m[2]] = true
				}
			}
		}
		exported := map[string]bool{}
		for _, s := range golden(t, file) {
			exported[s.name], known[s.name], known[file+" "+s.name] = true, true, true
		}
		for name := range exported {
			_, nowhere := excused[name]
			_, ofOthers := excused[file+" "+name]
			if excuse := nowhere || ofOthers; excuse == used[name] {
				t.Errorf("%s %s: shown %v, excused %v", file, name, used[name], excuse)
			}
		}
	}
	for name := range excused {
		if !known[name] {
			t.Errorf("%s is excused and does not exist", name)
		}
	}
}
