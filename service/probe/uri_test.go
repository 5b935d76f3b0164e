package probe_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
)

func TestParseURI(t *testing.T) {
	for text, want := range map[string]probe.URI{
		"turn:turn.example.org":                   {Host: "turn.example.org", Port: 3478, Transport: probe.UDP},
		"turn:192.0.2.1:1":                        {Host: "192.0.2.1", Port: 1, Transport: probe.UDP},
		"TURN:a?transport=UDP":                    {Host: "a", Port: 3478, Transport: probe.UDP},
		"turn:[::ffff:192.0.2.1]":                 {Host: "::ffff:192.0.2.1", Port: 3478, Transport: probe.UDP},
		"turn:a?transport=udp":                    {Host: "a", Port: 3478, Transport: probe.UDP},
		"turn:a:65535?transport=tcp":              {Host: "a", Port: 65535, Transport: probe.TCP},
		"turns:a":                                 {Host: "a", Port: 5349, Transport: probe.TLS},
		"turns:[2001:db8::1]:443?transport=tcp":   {Host: "2001:db8::1", Port: 443, Transport: probe.TLS},
		"stun:a.":                                 {Host: "a.", Port: 3478, Transport: probe.UDP, STUN: true},
		"stuns:a:7":                               {Host: "a", Port: 7, Transport: probe.TLS, STUN: true},
		"turn:" + strings.Repeat("a", 253) + ":1": {Host: strings.Repeat("a", 253), Port: 1, Transport: probe.UDP},
	} {
		if got, err := probe.ParseURI(text); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "turn", "turn:", "turn://a", "http://a", "TURN", "turn:a:0", "turn:a:65536", "turn:a:x", "turn:::1", "turn:[::1", "turn:fe80::1%eth0", "turn:a b", "turn:u@a", "turn:a/b",
		"turn:a?transport=sctp", "turn:a?x=y", "stun:a?transport=udp", "turns:a?transport=udp", "turn:-a", "turn:a\n", "turn:" + strings.Repeat("a", 254),
		// What follows a bracket is a port or the end: a library's parser called itself for ever here.
		"turns:[::]Q1:5349", "turn:[::1]x", "turn:[::1]]", "turn:[::1", "turn:[]", "turn:[192.0.2.1]", "turn:[fe80::1%25eth0]", "turn:a:", "turn:a:+1", "turn:a:000003478",
		"turn:a?transport=udp&transport=tcp", "turn:a?", "turn:a?transport=", "turn:%61", "turn:a#b", strings.Repeat("turn:a", 1<<20),
	} {
		if got, err := probe.ParseURI(text); err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "accepted: turn:HOST") {
			t.Errorf("%q: got %+v, %v, want a refusal of one line", text, got, err)
		}
	}
}

func FuzzParseURI(f *testing.F) {
	for _, s := range []string{"turn:a:1?transport=tcp", "turns:[::1]:5349", "stun:192.0.2.1", "turn:%61", "turn:a?transport=udp&transport=tcp", "turns:[::]Q1:5349", "TURN:a:65535?Transport=TCP"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := probe.ParseURI(s)
		if err != nil {
			if len(err.Error()) > 4000 { // %q makes ten bytes of one
				t.Errorf("%d bytes said of %d", len(err.Error()), len(s))
			}
			return
		}
		if _, notIP := netip.ParseAddr(u.Host); u.Port == 0 || u.Host == "" || len(u.Host) > 253 || notIP != nil && strings.ContainsAny(u.Host, " /@:?[]%\n") {
			t.Errorf("%q: got %+v", s, u)
		}
	})
}

func TestAskURI(t *testing.T) {
	t.Parallel()
	s, _ := secured(t, time.Now().Add(time.Hour))
	ask := func(uri string, q probe.Question) (probe.Listener, probe.Report) {
		t.Helper()
		u, err := probe.ParseURI(uri)
		if err != nil {
			t.Fatal(err)
		}
		q.Timeout = 10 * time.Second
		return u.Ask(t.Context(), q)
	}
	l, r := ask("turn:"+s.Addr.String()+"?transport=tcp", probe.Question{})
	if r.Err() != nil || l.Addr != s.Addr || strings.Join(stagesOf(r), " ") != "resolve bind unauthorized" {
		t.Errorf("as a stranger: got %+v at %+v", r, l)
	}
	if _, r = ask("stun:"+s.Addr.String(), probe.Question{Username: "alice", Password: password}); r.Err() != nil || strings.Join(stagesOf(r), " ") != "resolve bind" {
		t.Errorf("STUN alone: got %+v", r)
	}
	// Whoever signed the certificate, this machine does not know him.
	_, r = ask("turns:"+s.Addr.Addr().String(), probe.Question{})
	if step, failed := r.Failed(); !failed || step.Stage != probe.StageTLS || len(r.Chain) != 1 {
		t.Errorf("TLS: got %+v", r)
	}
	_, r = ask("turn:no-such-host.invalid", probe.Question{})
	if step, failed := r.Failed(); !failed || step.Stage != probe.StageResolve || !strings.Contains(step.Err.Error(), "no-such-host.invalid") {
		t.Errorf("no such host: got %+v", r)
	}
}

// The two ends of a call that can only be relayed need nothing but the server.
func TestRelayToItself(t *testing.T) {
	t.Parallel()
	// With a quota of two, whatever a probe leaves behind fails the next. Peers reach
	// an external address of the server by the address behind it.
	_, listeners := secured(t, time.Now().Add(time.Hour), "total-quota=2", "external-ip=203.0.113.7")
	_, denied := secured(t, time.Now().Add(time.Hour), "denied-peer-ip=127.0.0.0-127.255.255.255", "total-quota=2")
	for range 2 {
		for i, l := range listeners {
			realtest.Eventually(t, freed, func() error {
				q := whole(l)
				q.ToItself, q.Echo = true, 2500
				r := q.Ask(t.Context())
				if r.Err() == nil && (r.EchoRTT <= 0 || r.Relayed.Addr() != netip.MustParseAddr("203.0.113.7")) {
					t.Errorf("%s: %+v", l.Transport, r)
				}
				return r.Err()
			})
			q := whole(denied[i])
			q.ToItself = true
			realtest.Eventually(t, freed, func() error {
				r := q.Ask(t.Context())
				step, _ := r.Failed()
				e, ok := errors.AsType[*probe.Error](step.Err)
				if !ok || step.Stage != probe.StageRelay || e.Code != 403 || r.Steps[len(r.Steps)-1].Stage != probe.StageRefresh {
					return fmt.Errorf("denied over %s: got %+v, want 403 at the relay and a refresh", q.Transport, r)
				}
				return nil
			})
		}
	}
}
