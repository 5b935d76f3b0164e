package node_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-kit/kit/metrics/discard"
	"go.uber.org/goleak"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/calls"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/node"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/service/traffic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// child is a turnserver that the supervisor may start once.
type child struct{ *realtest.TurnServer }

func (c child) Signal(s syscall.Signal) error { return syscall.Kill(c.PID(), s) }

func (c child) Wait() error {
	<-c.Exited()
	return &supervisor.ExitError{Code: -1, Signal: syscall.SIGKILL}
}

// users is the user database of a turnserver.
type users struct {
	t      *testing.T
	server *realtest.TurnServer
	names  map[string]bool // only the rotator's goroutine asks
}

func (u users) Put(_ context.Context, username, password string) error {
	u.server.AddUser(u.t, username, password)
	u.names[username] = true
	return nil
}

func (u users) Delete(_ context.Context, username string) error {
	u.server.DeleteUser(u.t, username)
	delete(u.names, username)
	return nil
}

func (u users) List(context.Context) ([]string, error) {
	return slices.Collect(maps.Keys(u.names)), nil
}

var (
	discardCounter     = discard.NewCounter()
	discardCredentials = credential.Metrics{
		Rotations: discardCounter, Failures: discardCounter, Transitions: discardCounter, TransitionFailures: discardCounter,
	}
)

// runner is a part as it is started.
type runner interface {
	Run(ctx context.Context) error
}

// idle is a gigabit interface without traffic.
type idle struct{}

func (idle) Read() (traffic.Reading, error) {
	return traffic.Reading{At: time.Now(), Devices: []traffic.Device{{Name: "eth0", SpeedMbps: 1000}}}, nil
}

// TestNode follows a node with a real turnserver from its start over a hang of
// the server to its stop, by what it would publish.
func TestNode(t *testing.T) {
	server := realtest.StartTurnServer(t, realtest.TurnOptions{})
	logger := slog.New(slog.DiscardHandler)
	n := node.New(node.Facts{
		Node: "turn-1", RESTAddr: "10.0.0.5:13478", RotateEvery: time.Hour, ProbeTimeout: 5 * time.Second,
		Listeners: func(int) []probe.Listener { return []probe.Listener{{Transport: probe.UDP, Addr: server.Addr}} },
	}, logger)
	var once sync.Once
	start := func(ctx context.Context) (process supervisor.Process, err error) {
		err = errors.New("started before")
		once.Do(func() {
			process, err = child{server}, nil
			context.AfterFunc(ctx, func() { _ = syscall.Kill(server.PID(), syscall.SIGKILL) })
		})
		return process, err
	}
	parts := node.Parts{
		Child: supervisor.New(start, supervisor.Policy{Delay: time.Hour, Max: time.Hour, StableAfter: time.Hour},
			n.ChildChanged, logger, supervisor.Metrics{Restarts: discard.NewCounter()}),
		Prober: probe.New(probe.Config{Interval: time.Second, Timeout: time.Second, FailAfter: 3},
			probe.Node{
				Target: n.Target, Credential: n.ProbeCredential, Notify: n.ProbeChanged,
				Owners: func(int) error { return nil },
			}, logger, probe.Metrics{Duration: discard.NewHistogram(), RTT: discard.NewHistogram()}),
		Credentials: credential.New(credential.Config{Node: "turn-1", Realm: realtest.Realm, Lifetime: 2 * time.Hour, RotateEvery: time.Hour},
			users{t, server, map[string]bool{}}, n, credential.NewFile(filepath.Join(t.TempDir(), "credentials.json")),
			n.CredentialChanged, logger, credential.Metrics{
				Rotations: discard.NewCounter(), Failures: discard.NewCounter(), Transitions: discard.NewCounter(), TransitionFailures: discard.NewCounter(),
			}),
		Traffic: traffic.NewMeter(idle{}, traffic.Config{Direction: traffic.DirectionBoth, Interval: 10 * time.Second}, n.Sampled, logger),
		Log:     calls.NewLog(logger),
	}
	n.Join(parts)

	if p := n.Publication(); p.Present || p.Record.State != service.StateDown || p.Record.FreeTraffic != 0 {
		t.Errorf("before the start: got %+v, want nothing present", p)
	}
	if _, err := n.Credential(t.Context(), service.CredentialRequest{}); !errors.Is(err, service.ErrNoCredential) {
		t.Errorf("credential before the start: got %v", err)
	}
	if err := n.Allocate(t.Context(), "a", "b"); !errors.Is(err, credential.ErrDown) {
		t.Errorf("allocate before the start: got %v", err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for _, part := range []any{parts.Child, parts.Prober, parts.Credentials, parts.Traffic} {
		all.Go(func() { _ = part.(runner).Run(ctx) })
	}
	becomes := func(state string, free float64) {
		t.Helper()
		realtest.Eventually(t, 30*time.Second, func() error {
			p := n.Publication()
			if !p.Present || p.Record.State != state || p.Record.FreeTraffic != free {
				return fmt.Errorf("got %+v, want %s with %v Mbps; reasons: %v", p, state, free, service.Readiness(n.Status()))
			}
			return nil
		})
	}
	becomes(service.StateUp, 1000)
	if r := n.Publication().Record; r.RESTAddr != "10.0.0.5:13478" || r.Generation != 1 || r.CapacityMbps != 1000 {
		t.Errorf("record: got %+v", r)
	}
	c, err := n.Credential(t.Context(), service.CredentialRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Allocate(t.Context(), c.Username, c.Password.Reveal()); err != nil {
		t.Errorf("allocate with what was handed out: %v", err)
	}
	if err := n.Allocate(t.Context(), c.Username, "wrong"); !errors.Is(err, credential.ErrRefused) {
		t.Errorf("allocate with a wrong password: got %v", err)
	}

	server.Pause(t)
	becomes(service.StateDown, 0)
	realtest.Eventually(t, 30*time.Second, func() error {
		if got := n.Status().Child.LastExit.Cause; got != supervisor.ReasonProbe {
			return fmt.Errorf("a server that hangs: ended because of %q, want %q", got, supervisor.ReasonProbe)
		}
		return nil
	})
	if _, err := n.Credential(t.Context(), service.CredentialRequest{}); err != nil {
		t.Errorf("credential while the child is down: %v", err)
	}

	n.Unlist()
	becomes(service.StateDraining, 0)
	n.Stop()
	if _, err := n.Credential(t.Context(), service.CredentialRequest{}); !errors.Is(err, service.ErrNoCredential) {
		t.Errorf("credential while stopping: got %v", err)
	}
}
