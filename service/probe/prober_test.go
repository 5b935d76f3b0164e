package probe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/kit/metrics"
	"github.com/go-kit/kit/metrics/discard"
)

var (
	silent   = &Error{Stage: StageBind, Err: ErrNoAnswer}
	starved  = &Error{Stage: StageBind, Err: ErrNoAnswer, Late: 600 * time.Millisecond}
	jittery  = &Error{Stage: StageBind, Err: ErrNoAnswer, Late: 100 * time.Millisecond}
	unasked  = &Error{Stage: StageBind, Err: errLocal}
	open     = &Error{Stage: StageUnauthorized, Err: ErrOpenRelay}
	quota    = &Error{Stage: StageAllocate, Code: 486, Err: ErrFull}
	portless = &Error{Stage: StageAllocate, Code: 508, Err: ErrFull}
	refused  = &Error{Stage: StageAllocate, Code: 401, Err: ErrRefused}
	broken   = &Error{Stage: StageAllocate, Code: 500, Err: errors.New("server error")}
)

// world is what a prober of the tests sees.
type world struct {
	mu                             sync.Mutex
	pid                            int // 0 = no child
	bind, anonymous, alloc, owners error
	hang                           bool // Binding answers nothing until its deadline
	noCredential, relayFree        bool
	rounds, notified               int
}

func (w *world) change(f func(w *world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w)
}

// asked is how often the first stage was run.
func (w *world) asked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rounds
}

func (w *world) prober(cfg Config) *Prober {
	locked := func() func() { w.mu.Lock(); return w.mu.Unlock }
	p := New(cfg, Node{
		Target:     func() (Target, bool) { defer locked()(); return Target{PID: w.pid}, w.pid != 0 },
		Credential: func() (string, string, bool) { defer locked()(); return "u", "p", !w.noCredential },
		Owners:     func(int) error { defer locked()(); return w.owners },
		RelayFree:  func() bool { defer locked()(); return w.relayFree },
		Notify:     func() { defer locked()(); w.notified++ },
	}, slog.New(slog.DiscardHandler), Metrics{Duration: discard.NewHistogram()})
	p.binding = func(ctx context.Context, _ netip.AddrPort) error {
		defer locked()()
		w.rounds++
		if w.hang {
			w.mu.Unlock()
			<-ctx.Done()
			w.mu.Lock()
			return silent
		}
		return w.bind
	}
	p.anonymous = func(context.Context, netip.AddrPort) error { defer locked()(); return w.anonymous }
	p.allocate = func(context.Context, netip.AddrPort, string, string) (Allocation, error) {
		defer locked()()
		return Allocation{RTT: time.Millisecond}, w.alloc
	}
	return p
}

// run runs p until the end of the test.
func run(t *testing.T, p *Prober) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait()
}

// after lets time pass and what is due then happen.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var usual = Config{Interval: 5 * time.Second, Timeout: 2 * time.Second, FailAfter: 3}

// Each step is one round, of a run that begins not serving.
func TestVerdict(t *testing.T) {
	type step struct {
		w    func(w *world)
		want string
	}
	bind := func(err error) func(w *world) { return func(w *world) { w.bind = err } }
	alloc := func(err error) func(w *world) { return func(w *world) { w.alloc = err } }
	good := func(w *world) {
		w.bind, w.anonymous, w.alloc, w.owners = nil, nil, nil, nil
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
			{bind(starved), up},
			{bind(silent), up + " failures=1 bind"},
			{bind(starved), up + " failures=1 bind"},
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
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			w := &world{pid: 1}
			p := w.prober(usual)
			p.set(Result{PID: 1})
			for i, step := range steps {
				step.w(w)
				before, notified := p.Last(), w.notified
				p.probe(t.Context(), Target{PID: 1})
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
	return s
}

// A run is probed fast until its first good answer, then at the interval.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{bind: silent}
		p := w.prober(usual)
		run(t, p)
		if got := p.Last(); got != (Result{}) || w.asked() != 0 {
			t.Fatalf("without a child: got %+v after %d rounds", got, w.asked())
		}
		after(time.Second)
		w.change(func(w *world) { w.pid = 1 })
		p.Kick()
		after(70 * time.Millisecond)
		if got := summary(p.Last()); w.asked() != 3 || got != "starting failures=3 bind" {
			t.Fatalf("70ms after the start: %d rounds, %q", w.asked(), got)
		}
		w.change(func(w *world) { w.bind = nil })
		after(60 * time.Millisecond)
		if got := p.Last(); !got.Serving || w.asked() != 4 {
			t.Fatalf("60ms after it listens: %d rounds, %+v", w.asked(), got)
		}
		p.Kick() // of the same run: no reason for a probe
		after(4 * time.Second)
		if w.asked() != 4 {
			t.Errorf("rounds within the interval: got %d, want none", w.asked()-4)
		}
		after(time.Minute)
		if w.asked() != 4+12 {
			t.Errorf("rounds in a minute: got %d, want 12", w.asked()-4)
		}
	})
}

// One that never answers is not hammered.
func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{pid: 1, bind: silent}
		p := w.prober(usual)
		run(t, p)
		after(time.Minute)
		if got := p.Last(); w.asked() < 20 || w.asked() > 30 || got.Served || got.Serving || time.Since(got.Since) != time.Minute {
			t.Errorf("after a minute: %d rounds, want 20 to 30, %+v", w.asked(), got)
		}
	})
}

func TestHangIsNoticedWithinTheBound(t *testing.T) {
	for name, cfg := range map[string]Config{
		"usual":        usual,
		"long timeout": {Interval: time.Second, Timeout: 5 * time.Second, FailAfter: 3},
		"first":        {Interval: time.Second, Timeout: 100 * time.Millisecond, FailAfter: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{pid: 1}
				p := w.prober(cfg)
				run(t, p)
				// The worst moment: a round has just been good.
				after(10 * cfg.Interval)
				w.change(func(w *world) { w.hang = true })
				after(cfg.Interval*time.Duration(cfg.FailAfter) + cfg.Timeout)
				if got := p.Last(); got.Serving {
					t.Errorf("hung for interval*fail_after+timeout: %+v", got)
				}
			})
		})
	}
}

// A new child is probed at once, even while a stage still waits for the old one.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{pid: 1}
		p := w.prober(usual)
		run(t, p)
		w.change(func(w *world) { w.hang = true })
		after(6 * time.Second) // one second into the round that hangs
		w.change(func(w *world) { w.pid = 0 })
		p.Kick()
		synctest.Wait()
		if got := p.Last(); got != (Result{}) {
			t.Errorf("child ended: got %+v", got)
		}
		w.change(func(w *world) { w.pid, w.hang, w.noCredential = 2, false, true })
		p.Kick()
		synctest.Wait()
		if got := p.Last(); got.PID != 2 || !got.Serving || got.Authenticated || got.Failures != 0 {
			t.Errorf("child started again: got %+v", got)
		}
	})
}

// A server with no-stun answers no Binding and is none the worse (coturn 4.6.1).
func TestNoSTUN(t *testing.T) {
	w := &world{pid: 1, bind: silent}
	p := w.prober(usual)
	p.set(Result{PID: 1})
	p.probe(t.Context(), Target{PID: 1, NoSTUN: true})
	if got := summary(p.Last()); got != "serving authenticated" {
		t.Errorf("got %q", got)
	}
}

// The histogram tells how long good probes take; time-outs would drown that.
func TestDuration(t *testing.T) {
	w := &world{pid: 1}
	p := w.prober(usual)
	var observed observations
	p.m.Duration = &observed
	for _, err := range []error{nil, silent, nil} {
		w.bind = err
		p.probe(t.Context(), Target{PID: 1})
	}
	if want := (observations{"transport=udp", "transport=udp"}); !slices.Equal(observed, want) {
		t.Errorf("observed: got %v, want %v", observed, want)
	}
}

type observations []string

func (o *observations) With(labels ...string) metrics.Histogram {
	*o = append(*o, strings.Join(labels, "="))
	return o
}

func (o *observations) Observe(float64) {}
