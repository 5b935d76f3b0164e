package metrics_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/metrics"
	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/registry"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// events has every part report one of each event that it knows. A label that
// the metric does not have panics.
func events(m *metrics.Metrics) {
	for _, reason := range []string{
		supervisor.ReasonExit, supervisor.ReasonSignal, supervisor.ReasonProbe, supervisor.ReasonRotation, supervisor.ReasonRequested,
	} {
		m.Supervisor.Restarts.With("reason", reason).Add(1)
	}
	m.Credential.Rotations.Add(1)
	m.Credential.Failures.Add(1)
	m.Probe.Duration.With("transport", "udp").Observe(0.003)
	m.Probe.RTT.With("transport", "udp").Observe(0.001)
	for _, operation := range []string{"create", "set", "delete", "exists"} {
		m.Registry.Operations.With("operation", operation).Add(1)
		m.Registry.Failures.With("operation", operation).Add(1)
	}
}

// eventSeries are the series that events adds 1 to.
var eventSeries = []string{
	`turnwarden_turnserver_restarts_total{reason="exit"}`,
	`turnwarden_turnserver_restarts_total{reason="signal"}`,
	`turnwarden_turnserver_restarts_total{reason="probe"}`,
	`turnwarden_turnserver_restarts_total{reason="rotation"}`,
	`turnwarden_turnserver_restarts_total{reason="requested"}`,
	`turnwarden_credential_rotations_total`,
	`turnwarden_credential_rotation_failures_total`,
	`turnwarden_probe_duration_seconds_count{transport="udp"}`,
	`turnwarden_probe_rtt_seconds_count{transport="udp"}`,
	`turnwarden_zookeeper_operations_total{operation="create"}`,
	`turnwarden_zookeeper_operations_total{operation="set"}`,
	`turnwarden_zookeeper_operations_total{operation="delete"}`,
	`turnwarden_zookeeper_operations_total{operation="exists"}`,
	`turnwarden_zookeeper_operation_failures_total{operation="create"}`,
	`turnwarden_zookeeper_operation_failures_total{operation="set"}`,
	`turnwarden_zookeeper_operation_failures_total{operation="delete"}`,
	`turnwarden_zookeeper_operation_failures_total{operation="exists"}`,
}

// series reads an exposition: the value of each series as it is written.
func series(t *testing.T, m *metrics.Metrics) map[string]string {
	t.Helper()
	text, _ := exposition(t, m, "")
	values := map[string]string{}
	for line := range strings.Lines(text) {
		if i := strings.LastIndexByte(line, ' '); line[0] != '#' {
			values[line[:i]] = strings.TrimSpace(line[i:])
		}
	}
	return values
}

func expect(t *testing.T, values map[string]string, want string, names ...string) {
	t.Helper()
	for _, name := range names {
		if got, ok := values[name]; !ok || got != want {
			t.Errorf("%s: got %q (present: %t), want %s", name, got, ok, want)
		}
	}
}

func TestEvents(t *testing.T) {
	m := node(fresh())
	expect(t, series(t, m), "0", eventSeries...)
	events(m)
	expect(t, series(t, m), "1", eventSeries...)
}

// TestKnownInAdvance: increase() misses the first event of a series that is not
// there at 0 before it.
func TestKnownInAdvance(t *testing.T) {
	values := series(t, node(fresh()))
	expect(t, values, "0",
		`turnwarden_ready`,
		`turnwarden_draining`,
		`turnwarden_drain_deadline_timestamp_seconds`,
		`turnwarden_full`,
		`turnwarden_turnserver_up`,
		`turnwarden_probe_success{transport="udp"}`,
		`turnwarden_probe_consecutive_failures`,
		`turnwarden_relayed_address_mismatch`,
		`turnwarden_capacity_bytes_per_second`,
		`turnwarden_headroom_bytes_per_second`,
		`turnwarden_credential_valid`,
		`turnwarden_credential_deletes_pending`,
		`turnwarden_credential_last_rotation_timestamp_seconds`,
		`turnwarden_credential_expiry_timestamp_seconds`,
		`turnwarden_credential_generations{state="active"}`,
		`turnwarden_credential_generations{state="pending"}`,
		`turnwarden_credential_generations{state="retiring"}`,
		`turnwarden_credential_generations{state="verified"}`,
		`turnwarden_credential_active_generation`,
		`turnwarden_credential_slot_state{slot="3",state="active"}`,
		`turnwarden_allocations`,
		`turnwarden_allocations_created_total`,
		`turnwarden_allocation_duration_seconds_count`,
		`turnwarden_allocation_duration_seconds_bucket{le="43200"}`,
		`turnwarden_allocation_relayed_bytes_count`,
		`turnwarden_allocation_relayed_bytes_bucket{le="0"}`,
		`turnwarden_relay_ports`,
		`turnwarden_relay_ports_limit`,
		`turnwarden_turnserver_udp_receive_buffer_errors_total`,
		`turnwarden_refusals_total{code="401"}`,
		`turnwarden_refusals_total{code="437"}`,
		`turnwarden_refusals_total{code="438"}`,
		`turnwarden_refusals_total{code="486"}`,
		`turnwarden_refusals_total{code="508"}`,
		`turnwarden_refusals_total{code="other"}`,
		`turnwarden_auth_failures_total{cause="unknown_user"}`,
		`turnwarden_auth_failures_total{cause="wrong_password"}`,
		`turnwarden_auth_failures_total{cause="wrong_username"}`,
		`turnwarden_relay_receive_bytes_total`,
		`turnwarden_relay_transmit_bytes_total`,
		`turnwarden_turnserver_log_lines_total`,
		`turnwarden_turnserver_log_lines_suppressed_total`,
		`turnwarden_turnserver_log_lines_dropped_total`,
		`turnwarden_zookeeper_registered`,
		`turnwarden_zookeeper_conflict`,
		`turnwarden_zookeeper_session_expirations_total`,
		`turnwarden_zookeeper_last_publish_timestamp_seconds`,
		`turnwarden_advertised_free_bytes_per_second`,
		`turnwarden_http_requests_in_flight`,
		`turnwarden_http_request_duration_seconds_count{code="200",handler="/turncredential",method="get"}`,
		`turnwarden_http_request_duration_seconds_count{code="200",handler="/metrics",method="get"}`,
	)
	if _, ok := values[`turnwarden_credential_age_seconds`]; ok {
		t.Error("a credential that does not exist has an age")
	}
}

func TestDrainDeadline(t *testing.T) {
	s := serving()
	s.Draining, s.Drain = true, service.DrainStatus{Phase: service.DrainEnding, Deadline: time.UnixMilli(1790000001500)}
	expect(t, series(t, node(s)), "1", "turnwarden_draining")
	expect(t, series(t, node(s)), "1.7900000015e+09", "turnwarden_drain_deadline_timestamp_seconds")
}

// TestStates: each value of a state set is there all the time, and one is 1.
func TestStates(t *testing.T) {
	for metric, states := range map[string]map[string]func(*service.Status){
		"turnwarden_turnserver_state": {
			"starting": func(s *service.Status) { s.Child.State = supervisor.Starting },
			"running":  func(s *service.Status) { s.Child.State = supervisor.Running },
			"backoff":  func(s *service.Status) { s.Child.State = supervisor.Backoff },
			"stopping": func(s *service.Status) { s.Child.State = supervisor.Stopping },
			"stopped":  func(s *service.Status) { s.Child.State = supervisor.Stopped },
		},
		"turnwarden_zookeeper_session_state": {
			"connecting":   func(s *service.Status) { s.Registry.Session.State = directory.Connecting },
			"connected":    func(s *service.Status) { s.Registry.Session.State = directory.Connected },
			"disconnected": func(s *service.Status) { s.Registry.Session.State = directory.Disconnected },
			"expired":      func(s *service.Status) { s.Registry.Session.State = directory.Expired },
		},
		"turnwarden_state": {
			"up":             func(*service.Status) {},
			"warming":        func(s *service.Status) { s.Traffic.Ready = false },
			"full":           func(s *service.Status) { s.Probe.Full = true },
			"down":           func(s *service.Status) { s.Credential.Active = 0 },
			"draining":       func(s *service.Status) { s.Draining = true },
			"foreign_server": func(s *service.Status) { s.Probe.Foreign = "turnserver 4711" },
		},
	} {
		for current, change := range states {
			status := serving()
			change(&status)
			values := series(t, node(status))
			for state := range states {
				want := "0"
				if state == current {
					want = "1"
				}
				expect(t, values, want, metric+`{state="`+state+`"}`)
			}
		}
	}
}

func TestSeriesComeAndGo(t *testing.T) {
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*service.Status)
		want   map[string]string
		gone   string // what no series begins with any more
	}{
		"standalone": {
			func(s *service.Status) { s.Registry = nil },
			map[string]string{`turnwarden_ready`: "1"},
			"turnwarden_zookeeper_session_",
		},
		"name taken": {
			func(s *service.Status) { s.Registry = &registry.Status{Conflict: "10.0.0.6:13478"} },
			map[string]string{`turnwarden_zookeeper_conflict`: "1", `turnwarden_zookeeper_registered`: "0"},
			"",
		},
		"unlisted": {
			func(s *service.Status) { s.Registry.LastRecord.FreeTraffic = 0 },
			map[string]string{`turnwarden_advertised_free_bytes_per_second`: "0", `turnwarden_zookeeper_registered`: "1"},
			"",
		},
		"no child": {
			func(s *service.Status) { s.Child = supervisor.Child{State: supervisor.Backoff} },
			map[string]string{`turnwarden_turnserver_up`: "0", `turnwarden_ready`: "0"},
			"turnwarden_turnserver_process_",
		},
		"child that has just died": {
			func(s *service.Status) { s.Child.PID = dead.Process.Pid },
			map[string]string{`turnwarden_ready`: "0"},
			"turnwarden_turnserver_process_",
		},
		"no interface": {
			func(s *service.Status) { s.Traffic.Devices = nil },
			map[string]string{`turnwarden_headroom_bytes_per_second`: "1.0155e+08"},
			"turnwarden_network_",
		},
		"one failed probe while serving": {
			func(s *service.Status) {
				s.Probe.Failures = 1
				s.Probe.Answers[0] = probe.Answer{Transport: probe.UDP, At: s.At, Failures: 1, Outcomes: []probe.Outcome{{Stage: probe.StageBind}}}
			},
			map[string]string{
				`turnwarden_probe_success{transport="udp"}`:                    "0",
				`turnwarden_probe_stage_success{stage="bind",transport="udp"}`: "0",
				`turnwarden_ready`: "1",
			},
			`turnwarden_probe_stage_success{stage="unauthorized",transport="udp"}`,
		},
		"TLS alone fails": {
			func(s *service.Status) {
				s.Probe.Answers[1] = probe.Answer{Transport: probe.TLS, At: s.At, Failures: 9, Failing: true, Outcomes: []probe.Outcome{{Stage: probe.StageTLS}}}
			},
			map[string]string{
				`turnwarden_probe_success{transport="tls"}`:                   "0",
				`turnwarden_probe_stage_success{stage="tls",transport="tls"}`: "0",
				`turnwarden_probe_success{transport="udp"}`:                   "1",
				`turnwarden_probe_consecutive_failures`:                       "0",
				`turnwarden_ready`:                                            "1",
			},
			"turnwarden_probe_certificate",
		},
		"not yet asked over TLS": {
			func(s *service.Status) { s.Probe.Answers[1] = probe.Answer{Transport: probe.TLS} },
			map[string]string{`turnwarden_probe_success{transport="udp"}`: "1"},
			`turnwarden_probe_success{transport="tls"}`,
		},
		"wrong relayed address": {
			func(s *service.Status) { s.Probe.Misadvertised = "clients are told 10.0.0.5" },
			map[string]string{`turnwarden_relayed_address_mismatch`: "1", `turnwarden_ready`: "1"},
			"",
		},
		"clock stepped back": {
			func(s *service.Status) { s.At = s.Credential.Published.Add(-time.Hour) },
			map[string]string{`turnwarden_credential_age_seconds`: "0"},
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			status := serving()
			c.change(&status)
			values := series(t, node(status))
			for name, want := range c.want {
				expect(t, values, want, name)
			}
			for name := range values {
				if c.gone != "" && strings.HasPrefix(name, c.gone) {
					t.Errorf("there is %s", name)
				}
			}
		})
	}
}
