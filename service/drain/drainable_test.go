package drain_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/kit/metrics/discard"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/calls"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/drain"
	"github.com/turnwarden/turnwarden/service/node"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/service/traffic"
)

// turnserver is a child in a bubble, with calls that are seen in its log. Like coturn
// from 4.6.3 on it ends by itself once it drains and has none.
type turnserver struct {
	log    *calls.Log
	drains bool // on SIGUSR1

	mu      sync.Mutex
	next    int
	signals []syscall.Signal
	run     turnserverRun
}

// turnserverRun is one run of it.
type turnserverRun struct {
	*turnserver
	end chan error
}

func (r turnserverRun) PID() int    { return 4711 }
func (r turnserverRun) Wait() error { return <-r.end }

func (r turnserverRun) Signal(sig syscall.Signal) error {
	r.mu.Lock()
	r.signals = append(r.signals, sig)
	r.mu.Unlock()
	if !r.drains {
		r.die(&supervisor.ExitError{Code: -1, Signal: sig})
	}
	return nil
}

func (r turnserverRun) die(err error) {
	select {
	case r.end <- err:
	default: // it has ended
	}
}

func (s *turnserver) start(ctx context.Context) (supervisor.Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	run := turnserverRun{s, make(chan error, 1)}
	s.run = run
	context.AfterFunc(ctx, func() { run.die(&supervisor.ExitError{Code: -1, Signal: syscall.SIGTERM}) })
	return run, nil
}

// die ends the run of now.
func (s *turnserver) die(err error) {
	s.mu.Lock()
	run := s.run
	s.mu.Unlock()
	run.die(err)
}

func (s *turnserver) call() (hangUp func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	id := s.next
	s.log.Stdout(fmt.Appendf(nil, "1: : session %018d: new, realm=<example.org>, username=<alice>, lifetime=600", id))
	return func() {
		s.log.Stdout(fmt.Appendf(nil, "9: : session %018d: delete: realm=<example.org>, username=<alice>", id))
	}
}

// queue is a fleet's lock that a test turns.
type queue struct {
	mu       sync.Mutex
	before   []string
	err      error
	stuck    chan struct{} // Release hears nothing until it is closed; nil = at once
	released int
}

func (q *queue) Try() ([]string, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.before, q.err
}

func (q *queue) Release() error {
	if q.stuck != nil {
		<-q.stuck
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.released++
	return nil
}

func (q *queue) given() int {
	synctest.Wait()
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.released
}

func (q *queue) set(before ...string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.before = before
}

// idle is a gigabit interface without traffic.
type idle struct{}

func (idle) Read() (traffic.Reading, error) {
	return traffic.Reading{At: time.Now(), Devices: []traffic.Device{{Name: "eth0", SpeedMbps: 1000}}}, nil
}

// userdb takes every user, and every user may do everything.
type userdb struct {
	mu    sync.Mutex
	users map[string]bool
}

func (u *userdb) Put(_ context.Context, username, _ string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.users[username] = true
	return nil
}

func (u *userdb) Delete(_ context.Context, username string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.users, username)
	return nil
}

func (u *userdb) List(context.Context) ([]string, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Collect(maps.Keys(u.users)), nil
}

func (u *userdb) Allocate(context.Context, string, string) error { return nil }

func (u *userdb) size() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.users)
}

// drainable is a standalone node whose server runs, in a bubble.
type drainable struct {
	*node.Node
	*drain.Drainer
	*turnserver
	queue  *queue
	db     *userdb
	hurry  chan struct{}
	signal context.CancelFunc // SIGTERM
	ended  chan error         // of the drainer's Run

	mu    sync.Mutex
	steps []string
	waits []string // how a wait went
}

const drainTimeout = 10 * time.Minute

func drainTest(t *testing.T, version coturn.Version, sigterm time.Duration, test func(t *testing.T, d *drainable)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		logger := slog.New(slog.DiscardHandler)
		log := calls.NewLog(logger)
		d := &drainable{
			turnserver: &turnserver{log: log, drains: version.CanDrain()},
			queue:      &queue{}, db: &userdb{users: map[string]bool{}}, hurry: make(chan struct{}), ended: make(chan error, 1),
		}
		d.Node = node.New(node.Facts{Coturn: version, Commands: service.Commands{Resume: "turnwarden resume", NoLock: "--no-lock"}, Running: func() coturn.Version { return version }, Listeners: func(int) []probe.Listener { return nil }}, logger)
		child := supervisor.New(d.start, supervisor.Policy{}, d.ChildChanged, logger, supervisor.Metrics{Restarts: discard.NewCounter()})
		none := discard.NewCounter()
		credentials := credential.New(credential.Config{Node: "turn-1", Lifetime: 2 * time.Hour, RotateEvery: 20 * time.Minute},
			d.db, d.db, credential.NewFile(filepath.Join(dir, "c.json")), func() {}, logger,
			credential.Metrics{Rotations: none, Failures: none, Transitions: none, TransitionFailures: none})
		meter := traffic.NewMeter(idle{}, traffic.Config{Direction: traffic.DirectionBoth, Interval: 10 * time.Second}, d.Sampled, logger)
		d.Drainer = drain.New(drain.Config{Limit: sigterm, Notice: 30 * time.Second, SessionTimeout: 10 * time.Second, Hurry: d.hurry},
			drain.Parts{Node: d.Node, Child: d.Node, Lock: d.queue}, logger)
		d.Join(node.Parts{
			Child: child, Credentials: credentials, Traffic: meter, Log: log, Drain: d.Drainer,
			Prober: probe.New(probe.Config{Interval: time.Second}, probe.Node{Target: d.Target, Notify: func() {}}, logger, probe.Metrics{}),
		})
		ctx, cancel := context.WithCancel(t.Context())
		d.signal = cancel
		for _, run := range []func(context.Context) error{child.Run, credentials.Run, meter.Run} {
			go func() { _ = run(t.Context()) }()
		}
		go func() { d.ended <- d.Run(ctx) }()
		synctest.Wait()
		test(t, d)
		d.signal()
	})
}

// drain asks for a drain, and tells its outcome.
func (d *drainable) drain(ctx context.Context, limit time.Duration, then string) <-chan error {
	outcome := make(chan error, 1)
	go func() {
		outcome <- d.Drain(ctx, service.DrainRequest{Limit: limit, Then: then}, "uid 0", d.report)
	}()
	synctest.Wait()
	return outcome
}

func (d *drainable) report(s service.Step) {
	if s.Passing {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.waits = append(d.waits, s.Name+": "+s.Detail)
		return
	}
	line := s.Name
	if s.Err != nil {
		line += " FAILED " + s.Err.Error()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.steps = append(d.steps, line)
}

func (d *drainable) said() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.steps, ", ")
}

func (d *drainable) pass(t time.Duration) {
	time.Sleep(t) // in the bubble's time
	synctest.Wait()
}

// outcome is what came of a drain, "" while nothing has.
func outcome(c <-chan error) string {
	select {
	case err := <-c:
		if err == nil {
			return "done"
		}
		return err.Error()
	default:
		return ""
	}
}

var (
	keeps   = coturn.Version{Major: 4, Minor: 6, Patch: 1} // which SIGUSR1 kills
	refuses = coturn.Version{Major: 4, Minor: 17, Patch: 1}
)
