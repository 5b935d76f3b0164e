package probe_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// secured starts a server of every transport, and returns where each answers.
func secured(t *testing.T, notAfter time.Time, lines ...string) (*realtest.TurnServer, []probe.Listener) {
	t.Helper()
	cert, key := realtest.Certificate(t, "turn.example.org", notAfter.Add(-90*24*time.Hour), notAfter)
	s := realtest.StartTurnServer(t, realtest.TurnOptions{Lines: append(lines, "cert="+cert, "pkey="+key)})
	s.AddUser(t, "alice", password)
	return s, []probe.Listener{
		{Transport: probe.UDP, Addr: s.Addr},
		{Transport: probe.TCP, Addr: s.Addr},
		{Transport: probe.TLS, Addr: netip.AddrPortFrom(s.Addr.Addr(), 5349)}, // coturn's default
	}
}

// whole asks a listener for everything.
func whole(l probe.Listener) probe.Question {
	return probe.Question{Listener: l, Username: "alice", Password: password, Echo: 100, Timeout: 10 * time.Second}
}

func stagesOf(r probe.Report) (names []string) {
	for _, s := range r.Steps {
		names = append(names, s.Stage)
	}
	return names
}

func TestEveryTransport(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(30 * 24 * time.Hour).Truncate(time.Second)
	// With a quota of one, whatever a probe leaves behind fails the next.
	_, listeners := secured(t, end, "total-quota=1")
	for range 2 {
		for _, l := range listeners {
			realtest.Eventually(t, freed, func() error {
				var asked []netip.AddrPort
				l.Asked = func(local netip.AddrPort) { asked = append(asked, local) }
				r := whole(l).Ask(t.Context())
				if errors.Is(r.Err(), probe.ErrFull) {
					return r.Err()
				}
				want := []string{probe.StageBind, probe.StageUnauthorized, probe.StageAllocate, probe.StageRelay, probe.StageRefresh}
				if l.Transport == probe.TLS {
					want = append([]string{probe.StageTLS}, want...)
				}
				if got := stagesOf(r); r.Err() != nil || !slices.Equal(got, want) {
					t.Fatalf("%s: %v: %v, want %v", l.Transport, r.Err(), got, want)
				}
				if r.Relayed.Addr() != l.Addr.Addr() || r.RTT <= 0 {
					t.Errorf("%s: relayed address %v, rtt %v", l.Transport, r.Relayed, r.RTT)
				}
				if len(asked) != 1 || asked[0].Addr() != netip.MustParseAddr("127.0.0.1") || asked[0].Port() == 0 {
					t.Errorf("%s: asked from %v", l.Transport, asked)
				}
				if (len(r.Chain) == 1 && r.Chain[0].NotAfter.Equal(end)) != (l.Transport == probe.TLS) {
					t.Errorf("%s: certificates %v", l.Transport, r.Chain)
				}
				return nil
			})
		}
	}
}

// refused asks a listener that is not good and returns the last stage, which failed.
func refused(t *testing.T, q probe.Question) (probe.Report, probe.Step) {
	t.Helper()
	r := q.Ask(t.Context())
	last := r.Steps[len(r.Steps)-1]
	if last.Err == nil {
		t.Fatalf("%s serves: %+v", q.Transport, r)
	}
	return r, last
}

func TestHungListener(t *testing.T) {
	t.Parallel()
	s, listeners := secured(t, time.Now().Add(time.Hour))
	s.Pause(t)
	for _, l := range listeners {
		q := whole(l)
		q.Timeout = 300 * time.Millisecond
		begin := time.Now()
		_, last := refused(t, q)
		took := time.Since(begin)
		// The kernel has taken the connection, which is why it proves nothing.
		want := map[probe.Transport]string{probe.UDP: probe.StageBind, probe.TCP: probe.StageBind, probe.TLS: probe.StageTLS}[l.Transport]
		e, _ := errors.AsType[*probe.Error](last.Err)
		if !errors.Is(last.Err, probe.ErrNoAnswer) || last.Stage != want || took-e.Late > q.Timeout+200*time.Millisecond {
			t.Errorf("%s hung: %v at %s after %s, of which %s late; want no answer at %s after %s", l.Transport, last.Err, last.Stage, took, e.Late, want, q.Timeout)
		}
	}
	s.Cont(t)
	for _, l := range listeners {
		realtest.Eventually(t, freed, func() error { return whole(l).Ask(t.Context()).Err() })
	}
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(-time.Hour).Truncate(time.Second)
	_, listeners := secured(t, end)
	r, last := refused(t, whole(listeners[2]))
	if last.Stage != probe.StageTLS || !strings.Contains(last.Err.Error(), `certificate of "CN=turn.example.org" has expired on `+end.UTC().Format(time.DateTime)) {
		t.Errorf("expired: %v at %s", last.Err, last.Stage)
	}
	if len(r.Chain) != 1 || !r.Chain[0].NotAfter.Equal(end) {
		t.Errorf("expired: the certificate is not shown: %v", r.Chain)
	}

	_, listeners = secured(t, time.Now().Add(180*24*time.Hour))
	_, last = refused(t, whole(listeners[2]))
	if last.Stage != probe.StageTLS || !strings.Contains(last.Err.Error(), "is not valid before") {
		t.Errorf("not yet valid: %v at %s", last.Err, last.Stage)
	}

	_, listeners = secured(t, time.Now().Add(time.Hour))
	l := listeners[2]
	l.Host = "turn.example.org"
	_, last = refused(t, whole(l))
	if last.Stage != probe.StageTLS || !strings.Contains(last.Err.Error(), "x509: ") {
		t.Errorf("signed by itself: %v at %s", last.Err, last.Stage)
	}
}

// A TURN server need not be there at all, nor everything there be one.
func TestNoListener(t *testing.T) {
	t.Parallel()
	_, listeners := secured(t, time.Now().Add(time.Hour), "no-tls", "no-tcp")
	for _, l := range listeners[1:] {
		if _, last := refused(t, whole(l)); last.Stage != probe.StageBind || !errors.Is(last.Err, probe.ErrNoAnswer) {
			t.Errorf("%s closed: %v at %s", l.Transport, last.Err, last.Stage)
		}
	}
	for _, l := range listeners {
		l.Addr = netip.AddrPortFrom(netip.Addr{}, l.Addr.Port())
		if _, last := refused(t, whole(l)); last.Stage != probe.StageResolve || !strings.Contains(last.Err.Error(), fmt.Sprint(l.Addr.Port())) {
			t.Errorf("%s not opened: %v at %s", l.Transport, last.Err, last.Stage)
		}
	}
	web := stream(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") })
	for transport, want := range map[probe.Transport]string{probe.TCP: probe.StageBind, probe.TLS: probe.StageTLS} {
		if _, last := refused(t, whole(probe.Listener{Transport: transport, Addr: web})); last.Stage != want {
			t.Errorf("a web server as %s: %v at %s", transport, last.Err, last.Stage)
		}
	}
}

// A message may come in any number of pieces.
func TestDribble(t *testing.T) {
	t.Parallel()
	_, listeners := secured(t, time.Now().Add(time.Hour))
	for _, l := range listeners[1:] {
		to := l.Addr
		l.Addr = stream(t, func(c net.Conn) {
			server, err := net.Dial("tcp", to.String())
			if err != nil {
				t.Error(err)
				return
			}
			defer server.Close()
			go func() {
				defer server.Close()
				_, _ = io.Copy(server, c)
			}()
			for b := make([]byte, 1); ; {
				if _, err := server.Read(b); err != nil {
					return
				}
				if _, err := c.Write(b); err != nil {
					return
				}
			}
		})
		if err := whole(l).Ask(t.Context()).Err(); err != nil {
			t.Errorf("%s: %v", l.Transport, err)
		}
	}
}

// stream serves each TCP connection with f.
func stream(t *testing.T, f func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(realtest.Loopback(t), "0"))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				f(c)
			})
		}
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// A transport that fails is reported beside a verdict that it does not touch, and
// one whole server that hangs is noticed within the bound on every transport.
func TestProberOnEveryTransport(t *testing.T) {
	t.Parallel()
	s, listeners := secured(t, time.Now().Add(time.Hour))
	broken := slices.Clone(listeners)
	broken[2].Addr = stream(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }) // hangs
	cfg := probe.Config{Interval: time.Second, Timeout: 500 * time.Millisecond, FailAfter: 2}
	bound := cfg.Interval*time.Duration(cfg.FailAfter) + cfg.Timeout + time.Second
	p, await := follow(t, cfg, func() (probe.Target, bool) { return probe.Target{PID: s.PID(), Listeners: broken}, true })
	await("serving, TLS fails", 30*time.Second, func(r probe.Result) bool {
		return r.Serving && r.Failures == 0 && r.Answers[0].OK() && r.Answers[1].OK() && r.Answers[2].Failing
	})
	if got := p.Last().Answers[2]; !slices.Equal(got.Outcomes, []probe.Outcome{{Stage: probe.StageResolve, OK: true}, {Stage: probe.StageTLS}}) || !strings.Contains(got.Err, "tls: no answer") {
		t.Errorf("TLS: got %+v", got)
	}
	s.Pause(t)
	await("hang noticed", bound, func(r probe.Result) bool { return !r.Serving })
	await("hang noticed on TCP", bound, func(r probe.Result) bool { return r.Answers[1].Failing })
	s.Cont(t)
	await("serving again", 30*time.Second, func(r probe.Result) bool { return r.Serving && r.Answers[1].OK() && r.Answers[2].Failing })
}

// Where there is no UDP, TCP decides.
func TestTCPDecides(t *testing.T) {
	t.Parallel()
	s, listeners := secured(t, time.Now().Add(time.Hour))
	p, await := follow(t, probe.Config{Interval: time.Second, Timeout: 500 * time.Millisecond, FailAfter: 2},
		func() (probe.Target, bool) { return probe.Target{PID: s.PID(), Listeners: listeners[1:]}, true })
	await("serving", 30*time.Second, func(r probe.Result) bool { return r.Serving && r.Answers[1].OK() })
	if c := p.Last().Answers[1].Certificate; !c.Expiring(time.Now()) || c.NotBefore.IsZero() {
		t.Errorf("certificate %+v of 90 days with an hour left", c)
	}
	s.Pause(t)
	await("hang noticed", 2*time.Second+500*time.Millisecond+time.Second, func(r probe.Result) bool { return !r.Serving })
	s.Cont(t)
}
