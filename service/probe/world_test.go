package probe

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/kit/metrics/discard"
)

var (
	silent       = &Error{Stage: StageBind, Err: ErrNoAnswer}
	starved      = &Error{Stage: StageBind, Err: ErrNoAnswer, Late: 600 * time.Millisecond}
	mute         = &Error{Stage: StageRelay, Err: ErrNoAnswer}
	starvedRelay = &Error{Stage: StageRelay, Err: ErrNoAnswer, Late: 600 * time.Millisecond}
	forbidden    = &Error{Stage: StageRelay, Code: 403, Err: ErrRefused}
	jittery      = &Error{Stage: StageBind, Err: ErrNoAnswer, Late: 100 * time.Millisecond}
	unasked      = &Error{Stage: StageBind, Err: errLocal}
	unheard      = &Error{Stage: StageUnauthorized, Err: ErrNoAnswer}
	open         = &Error{Stage: StageUnauthorized, Err: ErrOpenRelay}
	quota        = &Error{Stage: StageAllocate, Code: 486, Err: ErrFull}
	portless     = &Error{Stage: StageAllocate, Code: 508, Err: ErrFull}
	refused      = &Error{Stage: StageAllocate, Code: 401, Err: ErrRefused}
	untrusted    = &Error{Stage: StageTLS, Err: ErrUntrusted}
	unconnected  = &Error{Stage: StageTLS, Err: ErrNoAnswer}
	broken       = &Error{Stage: StageAllocate, Code: 500, Err: errors.New("server error")}
)

// world is what a prober of the tests sees.
type world struct {
	mu                      sync.Mutex
	pid                     int // 0 = no child
	bind, anonymous, alloc  error
	certificate             error // what a TLS server shows
	mute, owners            error // mute is what the relay stage answers
	advertised              error
	others                  []Transport // that are probed besides UDP
	side                    error       // what every one of them answers to a Binding
	hang, sideHang          bool        // nothing is answered until the deadline
	noCredential, relayFree bool
	noTURN                  bool
	limited                 bool // no stranger is answered, but one from elsewhere
	rounds, notified        int
	starving, waited        time.Duration // how long the server waits for a processor in each round, and has
	asked                   []string      // transport and stage of all that was asked
}

func (w *world) change(f func(w *world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w)
}

// count is how often the first stage was run.
func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rounds
}

func (w *world) target() Target {
	t := Target{PID: w.pid, Listeners: []Listener{{Transport: UDP}}, LoopbackPeers: true, NoTURN: w.noTURN}
	for _, o := range w.others {
		t.Listeners = append(t.Listeners, Listener{Transport: o})
	}
	return t
}

func (w *world) prober(cfg Config) *Prober {
	locked := func() func() { w.mu.Lock(); return w.mu.Unlock }
	p := New(cfg, Node{
		Target:     func() (Target, bool) { defer locked()(); return w.target(), w.pid != 0 },
		Credential: func() (string, string, bool) { defer locked()(); return "u", "p", !w.noCredential },
		Owners:     func(int) error { defer locked()(); return w.owners },
		RelayFree:  func() bool { defer locked()(); return w.relayFree },
		Advertised: func(netip.Addr) error { defer locked()(); return w.advertised },
		Waited:     func(int) time.Duration { defer locked()(); return w.waited },
		Notify:     func() { defer locked()(); w.notified++ },
	}, slog.New(slog.DiscardHandler), Metrics{Duration: discard.NewHistogram(), RTT: discard.NewHistogram()})
	p.open = func(l Listener) asker { return &fake{w, l.Transport} }
	return p
}

// fake answers as its world says.
type fake struct {
	*world
	transport Transport
}

func (f *fake) answer(ctx context.Context, stage string, err error, hang bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, string(f.transport)+" "+stage)
	if hang {
		f.mu.Unlock()
		<-ctx.Done()
		f.mu.Lock()
		return silent
	}
	return err
}

func (f *fake) connect(context.Context) error { return nil }

func (f *fake) secure(ctx context.Context) ([]*x509.Certificate, error) {
	return nil, f.answer(ctx, StageTLS, f.certificate, false)
}

func (f *fake) binding(ctx context.Context) error {
	f.mu.Lock()
	err, hang := f.side, f.sideHang
	if f.transport == UDP {
		err, hang = f.bind, f.hang
		f.rounds++
		f.waited += f.starving
	}
	f.mu.Unlock()
	return f.answer(ctx, StageBind, err, hang)
}

func (f *fake) challenge(ctx context.Context) error {
	return f.answer(ctx, StageUnauthorized, f.anonymous, false)
}

func (f *fake) allocate(ctx context.Context, _, _ string) (Allocation, error) {
	return Allocation{RTT: time.Millisecond, Relayed: netip.MustParseAddrPort("10.0.0.5:50000")}, f.answer(ctx, StageAllocate, f.alloc, false)
}

func (f *fake) relay(ctx context.Context, _ Question, _ Allocation) (time.Duration, error) {
	return 0, f.answer(ctx, StageRelay, f.mute, false)
}

func (f *fake) release(ctx context.Context) error { return f.answer(ctx, StageRefresh, nil, false) }

func (f *fake) elsewhere(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.limited {
		f.anonymous, f.limited = nil, false
		return nil
	}
	return ErrNoAnswer
}

func (f *fake) close() {}

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
