package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// secured has turnserver listen for TLS, on 5349 of its own address, with a
// certificate that ends then.
func secured(t testing.TB, notAfter time.Time) []string {
	t.Helper()
	cert, key := realtest.Certificate(t, "turn.example.org", notAfter.Add(-90*24*time.Hour), notAfter)
	return []string{"cert=" + cert, "pkey=" + key}
}

// becomes waits until /metrics has all these samples.
func (h *host) becomes(t *testing.T, samples ...string) {
	t.Helper()
	realtest.Eventually(t, 30*time.Second, func() error {
		_, body, err := h.get("/metrics")
		lines := strings.Split(body, "\n")
		for _, s := range samples {
			if !slices.Contains(lines, s) {
				return fmt.Errorf("no %s: %w", s, err)
			}
		}
		return err
	})
}

// notes are what /-/ready of a serving host says besides.
func (h *host) notes(t *testing.T) string {
	t.Helper()
	code, body, err := h.get("/-/ready")
	if err != nil || code != http.StatusOK {
		t.Fatalf("%d %s %v", code, body, err)
	}
	return body
}

func TestEveryTransportIsProbed(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(10 * 24 * time.Hour).Truncate(time.Second)
	h := newHost(t, options{conf: secured(t, end)})
	h.serve(t)
	var want []string
	for _, transport := range []string{"udp", "tcp", "tls"} {
		want = append(want, `turnwarden_probe_success{transport="`+transport+`"} 1`)
		for _, stage := range []string{"resolve", "bind", "unauthorized", "allocate", "relay", "refresh"} {
			want = append(want, `turnwarden_probe_stage_success{stage="`+stage+`",transport="`+transport+`"} 1`)
		}
	}
	h.becomes(t, append(want, `turnwarden_probe_stage_success{stage="tls",transport="tls"} 1`, `turnwarden_relayed_address_mismatch 0`)...)
	if got, err := strconv.ParseFloat(h.metric(t, `turnwarden_probe_certificate_expiry_timestamp_seconds{transport="tls"}`), 64); err != nil || int64(got) != end.Unix() {
		t.Errorf("certificate ends at %v (%v), want %d", got, err, end.Unix())
	}
	if got, want := h.notes(t), "note: certificate: the one that tls clients are shown ends on "+end.UTC().Format(time.DateTime)+"\n"; !strings.Contains(got, want) {
		t.Errorf("ready says %q, want %q", got, want)
	}
}

// TestTLSFailsAlone: an expired certificate, or none, takes TLS from its clients and
// is no reason to take the server from all the others.
func TestTLSFailsAlone(t *testing.T) {
	t.Parallel()
	missing := []string{"cert=/nowhere/cert.pem", "pkey=/nowhere/key.pem"}
	for name, c := range map[string]struct {
		conf  []string
		stage string
		note  string
	}{
		"expired": {secured(t, time.Now().Add(-time.Hour)), "tls", `note: probe: tls fails, and with it its clients: tls: handshake with`},
		"missing": {missing, "bind", "note: probe: tls fails, and with it its clients: bind: no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, options{conf: c.conf})
			h.serve(t)
			child := h.child(t)
			h.becomes(t, `turnwarden_probe_success{transport="tls"} 0`, `turnwarden_probe_stage_success{stage="`+c.stage+`",transport="tls"} 0`)
			realtest.Eventually(t, 30*time.Second, func() error {
				if notes := h.notes(t); !strings.Contains(notes, c.note) {
					return fmt.Errorf("ready says %q", notes)
				}
				return nil
			})
			h.becomes(t, `turnwarden_probe_success{transport="udp"} 1`, `turnwarden_probe_success{transport="tcp"} 1`,
				`turnwarden_probe_consecutive_failures 0`, `turnwarden_state{state="up"} 1`)
			if h.child(t) != child {
				t.Error("the server was restarted")
			}
		})
	}
}

// TestRelayedAddress: the address that clients are really told is held against the
// configuration.
func TestRelayedAddress(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ external, mismatch, note string }{
		"right": {"external-ip=203.0.113.7", "0", ""},
		"wrong": {"external-ip=203.0.113.7/10.0.0.5", "1", "note: external-ip: clients are told the relayed address 127."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, options{conf: []string{c.external}})
			h.serve(t)
			h.becomes(t, `turnwarden_probe_success{transport="tcp"} 1`, "turnwarden_relayed_address_mismatch "+c.mismatch)
			if got := h.notes(t); strings.Contains(got, "external-ip") != (c.note != "") || !strings.Contains(got, c.note) {
				t.Errorf("ready says %q, want %q", got, c.note)
			}
		})
	}
}

// TestLoopbackPeersDenied: what the configuration does not allow is not asked, and is
// no failure.
func TestLoopbackPeersDenied(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]options{
		"not allowed": {without: "allow-loopback-peers"},
		"denied":      {conf: []string{"denied-peer-ip=127.0.0.0-127.255.255.255"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, o)
			h.serve(t)
			h.becomes(t, `turnwarden_probe_stage_success{stage="refresh",transport="udp"} 1`, `turnwarden_probe_success{transport="tcp"} 1`)
			if _, body, err := h.get("/metrics"); err != nil || strings.Contains(body, `stage="relay"`) {
				t.Errorf("the relay was asked (%v)", err)
			}
			if asked := strings.Contains(h.log(t), "denied in the range"); asked != (name == "denied") {
				t.Errorf("peer denied: %t", asked)
			}
		})
	}
}

// TestWithoutUDP: the first transport that is there decides.
func TestWithoutUDP(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{conf: []string{"no-udp"}})
	h.serve(t)
	h.becomes(t, `turnwarden_probe_success{transport="tcp"} 1`, `turnwarden_state{state="up"} 1`)
	if _, body, _ := h.get("/metrics"); strings.Contains(body, `probe_success{transport="udp"}`) {
		t.Error("UDP was probed")
	}
	s := mustFetch(t, h.rest())
	if _, err := (probe.Listener{Transport: probe.TCP, Addr: h.addr()}).Allocate(t.Context(), s.UserID, s.Password); err != nil {
		t.Errorf("the credential over TCP: %v", err)
	}
}

// TestProbePage: others may have this node ask whom its configuration names, as a
// stranger, and nobody else.
func TestProbePage(t *testing.T) {
	t.Parallel()
	server := realtest.StartTurnServer(t, realtest.TurnOptions{})
	h := newHost(t, options{set: map[string]string{"probe.allow_targets": "[" + server.Addr.Addr().String() + "]"}})
	h.serve(t)
	code, body, err := h.get("/probe?target=turn:" + server.Addr.String())
	if err != nil || code != http.StatusOK || !strings.Contains(body, "\nprobe_success 1\n") || strings.Contains(body, "allocate") {
		t.Errorf("allowed: %d %s %v", code, body, err)
	}
	if code, body, err = h.get("/probe?target=turn:" + h.addr().String()); err != nil || code != http.StatusForbidden || !strings.Contains(body, "probe.allow_targets") {
		t.Errorf("not allowed: %d %s %v", code, body, err)
	}
	if log := server.Log(t); strings.Contains(log, "tw-") {
		t.Errorf("a credential of ours was sent:\n%s", log)
	}
}
