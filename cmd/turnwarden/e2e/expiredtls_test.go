package e2e

import (
	"errors"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestExpiredTLSAlone: where clients come by TLS alone and the certificate has expired no
// new call is sent here, and the running ones are not cut by a restart that mends nothing.
func TestExpiredTLSAlone(t *testing.T) {
	t.Parallel()
	now := time.Now()
	cert, key := realtest.Certificate(t, "turn.example.org", now.Add(-time.Hour), now.AddDate(0, 0, 30))
	oldCert, oldKey := realtest.Certificate(t, "turn.example.org", now.AddDate(0, 0, -30), now.Add(-time.Hour))
	h := newHost(t, options{conf: []string{"no-udp", "no-tcp", "cert=" + cert, "pkey=" + key}})
	h.serve(t)
	child := h.child(t)
	exchange(t, cert, oldCert)
	exchange(t, key, oldKey)
	signalChild(t, h, syscall.SIGUSR2)
	h.expired(t)
	for range 4 { // rounds, of which one would be enough
		failures := h.metric(t, "turnwarden_probe_consecutive_failures")
		realtest.Eventually(t, 30*time.Second, func() error {
			if h.metric(t, "turnwarden_probe_consecutive_failures") == failures {
				return errors.New("no round")
			}
			return nil
		})
	}
	if now := h.child(t); now != child {
		t.Errorf("turnserver %d was restarted: it is %d", child, now)
	}
	exchange(t, cert, oldCert)
	exchange(t, key, oldKey)
	h.renewed(t, child)
}

// TestExpiredTLSFromTheStart: a turnserver that never had another certificate is told of
// the renewed one, too: it has shaken hands, and so heeds the signal.
func TestExpiredTLSFromTheStart(t *testing.T) {
	t.Parallel()
	now := time.Now()
	cert, key := realtest.Certificate(t, "turn.example.org", now.AddDate(0, 0, -30), now.Add(-time.Hour))
	newCert, newKey := realtest.Certificate(t, "turn.example.org", now.Add(-time.Hour), now.AddDate(0, 0, 30))
	h := newHost(t, options{conf: []string{"no-udp", "no-tcp", "cert=" + cert, "pkey=" + key}})
	h.start(t)
	h.expired(t)
	child := h.child(t)
	exchange(t, cert, newCert)
	exchange(t, key, newKey)
	h.renewed(t, child)
}

// expired waits until the certificate is why the host is not listed.
func (h *host) expired(t *testing.T) {
	t.Helper()
	realtest.Eventually(t, 30*time.Second, func() error {
		if code, body, err := h.get("/-/ready"); err != nil || code != http.StatusServiceUnavailable || !strings.Contains(body, "has expired") {
			return errors.New("ready says " + body)
		}
		return nil
	})
}

// renewed has the certificate read again, and waits until the same turnserver serves it.
func (h *host) renewed(t *testing.T, child int) {
	t.Helper()
	if out, code := h.ask(t, "reload"); code != 0 {
		t.Errorf("reload: %d\n%s", code, out)
	}
	h.waitReady(t)
	if now := h.child(t); now != child {
		t.Errorf("turnserver %d was restarted: it is %d", child, now)
	}
}
