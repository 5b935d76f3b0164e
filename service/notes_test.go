package service_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/probe"
)

// TestNotes: what an operator should see to leaves the node listed.
func TestNotes(t *testing.T) {
	failing := probe.Answer{Transport: probe.TLS, At: up().At, Failures: 3, Failing: true, Err: "tls: handshake failed"}
	ending := func(in time.Duration) probe.Answer {
		return probe.Answer{Transport: probe.TLS, At: up().At, Certificate: probe.Certificate{NotBefore: up().At.AddDate(0, 0, -60), NotAfter: up().At.Add(in)}}
	}
	for name, c := range map[string]struct {
		change func(*service.Status)
		want   []string
	}{
		"none": {func(*service.Status) {}, nil},
		"one failure": {func(s *service.Status) {
			s.Probe.Answers = []probe.Answer{{Transport: probe.TLS, Failures: 1, Err: "x"}}
		}, nil},
		"a transport fails":  {func(s *service.Status) { s.Probe.Answers = []probe.Answer{failing} }, []string{"probe: tls fails, and with it its clients: tls: handshake failed"}},
		"certificate":        {func(s *service.Status) { s.Probe.Answers = []probe.Answer{ending(48 * time.Hour)} }, []string{"certificate: the one that tls clients are shown ends on 2026-09-23 14:13:20"}},
		"renewed in time":    {func(s *service.Status) { s.Probe.Answers = []probe.Answer{ending(15 * 24 * time.Hour)} }, nil},
		"wrong external-ip":  {func(s *service.Status) { s.Probe.Misadvertised = "clients are told 10.0.0.5" }, []string{"external-ip: clients are told 10.0.0.5"}},
		"coturn of tomorrow": {func(s *service.Status) { s.Coturn, s.Untried = "4.99.0", true }, []string{"coturn 4.99.0 is newer than 4.18.0, the newest that this turnwarden was tried with: compare its counters with turnserver's own"}},
		"log not understood": {func(s *service.Status) { s.Coturn, s.Sessions.Unread = "4.99.0", true }, []string{"log format of coturn 4.99.0 not understood: counters are incomplete"}},
		"the server is down": {func(s *service.Status) { s.Probe.Failures, s.Probe.Answers = 1, []probe.Answer{failing} }, nil},
	} {
		status := up()
		c.change(&status)
		if diff := cmp.Diff(c.want, service.Notes(status)); diff != "" {
			t.Errorf("%s: notes (-want +got):\n%s", name, diff)
		}
		if reasons := service.Readiness(status); len(reasons) > 0 {
			t.Errorf("%s: not listed: %v", name, reasons)
		}
	}
}
