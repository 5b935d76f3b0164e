package probe

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// Each step is one round, of a run that begins not serving.
func TestVerdict(t *testing.T) {
	type step struct {
		w    func(w *world)
		want string
	}
	bind := func(err error) func(w *world) { return func(w *world) { w.bind = err } }
	alloc := func(err error) func(w *world) { return func(w *world) { w.alloc = err } }
	sides := func(err error) func(w *world) { return func(w *world) { w.side = err } }
	good := func(w *world) {
		w.bind, w.anonymous, w.alloc, w.mute, w.owners, w.side, w.advertised = nil, nil, nil, nil, nil, nil, nil
		w.noCredential, w.relayFree = false, false
	}
	const up = "serving authenticated"
	tests := map[string][]step{
		"hysteresis": {
			{good, up},
			{bind(silent), up + " failures=1 bind"},
			{bind(silent), up + " failures=2 bind"},
			{good, up},
			{bind(silent), up + " failures=1 bind"},
			{bind(jittery), up + " failures=2 bind"},
			{bind(silent), "authenticated failures=3 bind"},
			{bind(silent), "authenticated failures=4 bind"},
			{good, up},
		},
		"our own delay is not the server's": {
			{good, up},
			{bind(starved), up},
			{bind(unasked), up},
			{bind(starved), up},
			{bind(silent), up + " failures=1 bind"},
			{bind(starved), up + " failures=1 bind"},
			{good, up},
			{bind(starved), up},
		},
		"no credential yet": {
			{func(w *world) { w.noCredential = true }, "serving"},
			{good, up},
		},
		"credential refused": {
			{good, up},
			{alloc(refused), up + " failures=1 allocate 401"},
			{alloc(refused), up + " failures=2 allocate 401"},
			{alloc(broken), "authenticated failures=3 allocate 500"},
		},
		"never right":        {{alloc(refused), "starting failures=1 allocate 401"}, {alloc(refused), "starting failures=2 allocate 401"}},
		"full is not broken": {{alloc(quota), up + " full=486"}, {alloc(portless), up + " full=508"}, {alloc(quota), up + " full=486"}, {good, up}},
		"no room for a reason of its own": {
			{good, up},
			{func(w *world) { w.alloc, w.relayFree = portless, true }, up + " failures=1 allocate 508"},
			{alloc(quota), up + " full=486"},
		},
		"open relay": {
			{good, up},
			{func(w *world) { w.anonymous = open }, "authenticated open failures=1 unauthorized"},
			{good, "authenticated open"},
		},
		"foreign server": {
			{good, up},
			{bind(silent), up + " failures=1 bind"},
			{func(w *world) { w.owners = errors.New("pid 7") }, up + " foreign=pid 7 failures=1 bind"},
			{func(w *world) { w.owners = errors.New("pid 7") }, up + " foreign=pid 7 failures=1 bind"},
			{good, up},
		},
		"what it does not relay": {
			{good, up},
			{func(w *world) { w.mute = mute }, up + " udp:1"},
			{func(w *world) { w.mute = mute }, up + " udp:2"},
			{func(w *world) { w.mute = mute }, up + " udp:3 failing"},
			{func(w *world) { w.mute = mute }, up + " udp:4 failing"},
			{good, up},
		},
		"our own delay in the relay": {
			{good, up},
			{func(w *world) { w.mute = starvedRelay }, up},
			{bind(silent), up + " failures=1 bind"},
			{bind(silent), up + " failures=2 bind"},
			{func(w *world) { w.bind, w.mute = nil, starvedRelay }, up + " udp:2"}, // it has answered all the rest
			{bind(silent), up + " failures=1 bind"},
		},
		"peers on loopback denied": {
			{func(w *world) { w.mute = forbidden }, up},
			{func(w *world) { w.mute = forbidden }, up},
		},
		"wrong relayed address": {
			{good, up},
			{func(w *world) { w.advertised = errors.New("not 10.0.0.5") }, up + " misadvertised"},
			{func(w *world) { w.alloc = quota }, up + " full=486 misadvertised"}, // nothing new is known of it
			{good, up},
		},
		"another transport": {
			{good, up},
			{sides(silent), up + " tcp:1 tls:1"},
			{sides(silent), up + " tcp:2 tls:2"},
			{good, up},
			{sides(silent), up + " tcp:1 tls:1"},
			{sides(starved), up + " tcp:1 tls:1"},
			{sides(silent), up + " tcp:2 tls:2"},
			{sides(silent), up + " tcp:3 failing tls:3 failing"},
			{sides(silent), up + " tcp:4 failing tls:4 failing"},
			{good, up},
		},
		"another transport is an open relay": {
			{good, up},
			{sides(open), "authenticated open tcp:1 tls:1"},
			{good, "authenticated open"},
		},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			w := &world{pid: 1}
			if strings.HasPrefix(name, "another transport") {
				w.others = []Transport{TCP, TLS}
			}
			p := w.prober(usual)
			p.set(newResult(w.target()))
			for i, step := range steps {
				step.w(w)
				before, notified := p.Last(), w.notified
				p.probe(t.Context(), w.target())
				got := summary(p.Last())
				if got != step.want {
					t.Fatalf("round %d: got %q, want %q", i, got, step.want)
				}
				if changed := got != summary(before); changed != (w.notified > notified) {
					t.Errorf("round %d: %q after %q, notified: %v", i, got, summary(before), !changed)
				}
			}
		})
	}
}

// summary is a verdict in words.
func summary(r Result) (s string) {
	add := func(on bool, format string, args ...any) {
		if on {
			if s != "" {
				s += " "
			}
			s += fmt.Sprintf(format, args...)
		}
	}
	add(r.PID == 0, "no child")
	add(r.PID != 0 && !r.Served, "starting")
	add(r.Serving, "serving")
	add(r.Authenticated, "authenticated")
	add(r.OpenRelay, "open")
	add(r.Full, "full=%d", r.FullCode)
	add(r.Foreign != "", "foreign=%s", r.Foreign)
	add(r.Failures > 0, "failures=%d %s", r.Failures, r.Stage)
	add(r.Failures > 0 && r.Code != 0, "%d", r.Code)
	add(r.Misadvertised != "", "misadvertised")
	for i, a := range r.Answers {
		if i > 0 || r.Failures == 0 {
			add(a.Failures > 0, "%s:%d", a.Transport, a.Failures)
			add(a.Failing, "failing")
		}
	}
	return s
}

// TestNoTURN: what answers a Binding is not proved to serve, nor to serve no more.
func TestNoTURN(t *testing.T) {
	w := &world{pid: 1, noTURN: true, alloc: refused}
	p := w.prober(usual)
	p.set(newResult(w.target()))
	for i, step := range []struct {
		edit func()
		want string
	}{
		{func() {}, "starting"},
		{func() { w.noTURN, w.alloc = false, nil }, "serving authenticated"},
		{func() { w.noTURN, w.alloc, w.anonymous = true, refused, open }, "serving authenticated"},
		{func() { w.bind = silent }, "serving authenticated failures=1 bind"},
		{func() { w.bind = nil }, "serving authenticated"},
	} {
		step.edit()
		p.probe(t.Context(), w.target())
		if got := summary(p.Last()); got != step.want {
			t.Errorf("round %d: got %q, want %q", i, got, step.want)
		}
	}
}

// TestUntrusted: while TLS clients refuse the certificate no lost answer has the server
// restarted that one with a good certificate would survive.
func TestUntrusted(t *testing.T) {
	w := &world{pid: 1}
	p := w.prober(usual)
	target := w.target()
	target.Listeners[0].Transport = TLS
	p.set(newResult(target))
	for i, step := range []struct {
		certificate        error
		serving, untrusted bool
	}{
		{nil, true, false},
		{untrusted, true, true},
		{untrusted, true, true},
		{untrusted, false, true},
		{unconnected, false, true},
		{unconnected, false, true},
		{untrusted, false, true},
		{unconnected, false, true},
		{unconnected, false, true},
		{unconnected, false, false},
		{untrusted, false, true},
		{nil, true, false},
		{unconnected, true, false},
	} {
		w.certificate = step.certificate
		p.probe(t.Context(), target)
		if got := p.Last(); got.Serving != step.serving || got.Futile != step.untrusted {
			t.Errorf("round %d: serving %t, futile %t; want %+v", i, got.Serving, got.Futile, step)
		}
	}
}
