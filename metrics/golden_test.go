package metrics_test

import (
	"flag"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/turnwarden/turnwarden/metrics"
	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/realtest"
)

const golden = "testdata/metrics.prom"

var update = flag.Bool("update", false, "rewrite "+golden)

var (
	runtimeFamilies = regexp.MustCompile(`(?m)^(# (HELP|TYPE) )?go_.*\n`)
	processValues   = regexp.MustCompile(`(?m)^((turnwarden_turnserver_)?process_\S+|turnwarden_allocation_duration_seconds_sum) .*$`)
	buildLabels     = regexp.MustCompile(`(?m)^turnwarden_build_info{.*$`)
	labelValue      = regexp.MustCompile(`="[^"]*"`)
)

// blank takes out what depends on the moment, the process and the build: the
// families of the Go runtime, which are Go's to name, the values of processes,
// and what was built.
func blank(text string) string {
	text = runtimeFamilies.ReplaceAllString(text, "")
	text = processValues.ReplaceAllString(text, "$1 1")
	return buildLabels.ReplaceAllStringFunc(text, func(line string) string {
		return labelValue.ReplaceAllString(line, `="x"`)
	})
}

// TestGolden pins every name, label and help text: dashboards and alerts of
// other people hang on them, so that a change of this file is a breaking change.
func TestGolden(t *testing.T) {
	m := node(serving())
	events(m)
	compare(t, golden, m)
}

func compare(t *testing.T, golden string, m *metrics.Metrics) {
	t.Helper()
	text, _ := exposition(t, m, "")
	got := blank(text)
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the exposition changed; if that is meant, run go test ./metrics -update (-want +got):\n%s", diff)
	}
}

// TestPromises holds the golden file against what the documentation promises,
// whatever -update has written.
func TestPromises(t *testing.T) {
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	for _, series := range []string{
		`turnwarden_network_receive_bytes_total{device="eth0"} `,
		`turnwarden_network_transmit_bytes_total{device="eth0"} `,
		`turnwarden_network_capacity_bytes_per_second{device="eth0"} `,
		`turnwarden_headroom_bytes_per_second `,
		`turnwarden_advertised_free_bytes_per_second `,
		`turnwarden_turnserver_up 1`,
		`turnwarden_turnserver_process_start_time_seconds `,
		`turnwarden_turnserver_restarts_total{reason="probe"} `,
		`turnwarden_credential_age_seconds 3600`,
		`turnwarden_credential_expiry_timestamp_seconds `,
		`turnwarden_credential_last_rotation_timestamp_seconds `,
		`turnwarden_credential_rotations_total `,
		`turnwarden_credential_rotation_failures_total `,
		`turnwarden_zookeeper_registered 1`,
		`turnwarden_zookeeper_session_state{state="connected"} 1`,
		`turnwarden_http_request_duration_seconds_count{code="200",handler="/turncredential",method="get"} `,
		`turnwarden_build_info{`,
		`process_resident_memory_bytes `,
	} {
		if !strings.Contains("\n"+string(text), "\n"+series) {
			t.Errorf("%s has no %s", golden, series)
		}
	}
	live, _ := exposition(t, node(fresh()), "")
	if !strings.Contains(live, "\ngo_goroutines ") {
		t.Error("no metrics of the Go runtime")
	}
}

func TestPromtool(t *testing.T) {
	realtest.Require(t, "promtool")
	for _, file := range []string{golden, gatewayGolden} {
		text, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer text.Close()
		check := exec.Command("promtool", "check", "metrics")
		check.Stdin = text
		if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("promtool check metrics < %s: %v\n%s", file, err, out)
		}
	}
}

func TestLint(t *testing.T) {
	for _, m := range []*metrics.Metrics{node(serving()), metricsOf(fleetOf())} {
		problems, err := testutil.GatherAndLint(m.Gatherer())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// TestPedantic has the registry check each metric of the collector for itself.
func TestPedantic(t *testing.T) {
	for name, status := range map[string]service.Status{"serving": serving(), "fresh": fresh(), "zero": {}} {
		r := prometheus.NewPedanticRegistry()
		r.MustRegister(metrics.NewCollector(func() service.Status { return status }))
		if _, err := r.Gather(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// inOtherUnits finds the units that neither promlint nor promtool know.
var inOtherUnits = regexp.MustCompile(`_([kmg]?bps|bits|pct|percent|ms|rx|tx)(_|$)`)

func TestNamesAndHelp(t *testing.T) {
	families, err := node(serving()).Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	more, err := metricsOf(fleetOf()).Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	help := map[string]string{}
	for _, f := range append(families, more...) {
		name, text := f.GetName(), f.GetHelp()
		if !strings.HasPrefix(name, "turnwarden_") {
			continue
		}
		if inOtherUnits.MatchString(name) {
			t.Errorf("%s: want base units and whole words (bytes, seconds, ratio, receive, transmit)", name)
		}
		if other, taken := help[text]; taken && other != name {
			t.Errorf("%s and %s have the same help %q", name, other, text)
		}
		help[text] = name
		if !strings.HasSuffix(text, ".") {
			t.Errorf("%s: help %q is no sentence", name, text)
		}
	}
}
