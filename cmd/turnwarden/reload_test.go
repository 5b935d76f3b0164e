package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// shown is the certificate that a client gets.
func shown(t *testing.T, addr string) *x509.Certificate {
	t.Helper()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

// TestReload: new certificates are served without touching a call; a mistake applies
// nothing; what needs a start of turnwarden is named.
func TestReload(t *testing.T) {
	t.Parallel()
	now := time.Now()
	cert, key := realtest.Certificate(t, "turn.example.org", now.Add(-time.Hour), now.AddDate(0, 0, 30))
	newCert, newKey := realtest.Certificate(t, "turn.example.org", now.Add(-time.Hour), now.AddDate(0, 0, 60))
	ip := realtest.Loopback(t)
	port := realtest.FreePort(t, ip)
	h := newHost(t, options{conf: []string{"cert=" + cert, "pkey=" + key, fmt.Sprintf("tls-listening-port=%d", port)}})
	addr := net.JoinHostPort(h.ip, fmt.Sprint(port))
	h.serve(t)
	calls, child := h.open(t, 3), h.child(t)
	before := shown(t, addr)
	if out, code := h.ask(t, "reload"); code != 0 || !strings.Contains(out, "served, by a handshake") {
		t.Errorf("nothing new: %d\n%s", code, out)
	}
	swap := func() { exchange(t, cert, newCert); exchange(t, key, newKey) }
	swap()
	if out, code := h.ask(t, "reload"); code != 0 || !strings.Contains(out, "served, by a handshake") {
		t.Errorf("a new certificate: %d\n%s", code, out)
	}
	renewed := shown(t, addr)
	if renewed.Equal(before) {
		t.Error("the old certificate is served")
	}
	swap()
	h.signal(t, syscall.SIGHUP)
	realtest.Eventually(t, 20*time.Second, func() error {
		if !shown(t, addr).Equal(before) {
			return fmt.Errorf("SIGHUP: not reloaded")
		}
		return nil
	})

	// A certificate that is none: turnserver goes on with the one it has.
	good, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, cert, "not a certificate\n")
	if out, code := h.ask(t, "reload"); code != 1 || !strings.Contains(out, "no PEM certificate found") {
		t.Errorf("junk: %d\n%s", code, out)
	}
	h.write(t, cert, string(good))

	// What is not applied is named; a mistake, with every other.
	yml, err := os.ReadFile(h.yml)
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, h.yml, strings.Replace(string(yml), "capacity_mbps: 1000", "capacity_mbps: 2000", 1))
	if out, code := h.ask(t, "reload"); code != 1 || !strings.Contains(out, "traffic.capacity_mbps; turnwarden drain empties") {
		t.Errorf("a changed key: %d\n%s", code, out)
	}
	h.write(t, h.yml, string(yml)+"nonsense: 1\nnode: -x\n")
	if out, code := h.ask(t, "reload"); code != 1 || !strings.Contains(out, "nothing is applied") ||
		!strings.Contains(out, "nonsense: found an unknown key") || !strings.Contains(out, "node: found") {
		t.Errorf("mistakes: %d\n%s", code, out)
	}
	h.write(t, h.yml, string(yml))
	conf, err := os.ReadFile(h.conf)
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, h.conf, string(conf)+"total-quota=100\n")
	if out, code := h.ask(t, "reload"); code != 1 || !strings.Contains(out, h.conf) || !strings.Contains(out, "read at the start of turnwarden alone") {
		t.Errorf("a changed turnserver.conf: %d\n%s", code, out)
	}
	if h.child(t) != child {
		t.Error("the child was replaced")
	}
	alive(t, calls)
}
