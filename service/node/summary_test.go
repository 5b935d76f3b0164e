package node_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/kit/metrics/discard"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/calls"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/node"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/service/traffic"
)

// steady is an interface with 1 MB/s in and 2 MB/s out.
type steady struct{}

func (steady) Read() (traffic.Reading, error) {
	now := time.Now()
	seconds := uint64(now.Unix())
	return traffic.Reading{At: now, Devices: []traffic.Device{{Name: "eth0", SpeedMbps: 1000, RxBytes: seconds * 1e6, TxBytes: seconds * 2e6}}}, nil
}

// still is a turnserver that somebody else looks after.
type still struct {
	ctx context.Context
	pid int
}

func (s still) PID() int { return s.pid }

func (s still) Wait() error {
	<-s.ctx.Done()
	return nil
}

func (s still) Signal(syscall.Signal) error { return nil }

// TestQuietHour lets two hours pass over a node whose parts all run at their default
// pace, with a real turnserver that the prober asks 720 times an hour. In the first,
// in which nothing happens, nothing is logged at info but the summary.
func TestQuietHour(t *testing.T) {
	// An hour of probes is over in seconds, and coturn keeps a port for one more.
	server := realtest.StartTurnServer(t, realtest.TurnOptions{RelayPorts: 5000})
	var log realtest.Log
	state := filepath.Join(t.TempDir(), "credentials.json")
	synctest.Test(t, func(t *testing.T) {
		logger := slog.New(slog.NewTextHandler(&log, nil))
		n := node.New(node.Facts{
			Node: "turn-1", RotateEvery: 12 * time.Hour, ProbeTimeout: 5 * time.Second,
			Listeners: func(int) []probe.Listener { return []probe.Listener{{Transport: probe.UDP, Addr: server.Addr}} },
		}, logger)
		parts := node.Parts{
			Child: supervisor.New(func(ctx context.Context) (supervisor.Process, error) { return still{ctx, server.PID()}, nil },
				supervisor.Policy{Delay: time.Second, Max: time.Second, StableAfter: time.Second}, n.ChildChanged, logger, supervisor.Metrics{Restarts: discard.NewCounter()}),
			Prober: probe.New(probe.Config{Interval: 5 * time.Second, Timeout: 5 * time.Second, FailAfter: 3},
				probe.Node{Target: n.Target, Credential: n.ProbeCredential, Notify: n.ProbeChanged, Owners: func(int) error { return nil }},
				logger, probe.Metrics{Duration: discard.NewHistogram(), RTT: discard.NewHistogram()}),
			Credentials: credential.New(credential.Config{Node: "turn-1", Realm: realtest.Realm, Lifetime: 24 * time.Hour, RotateEvery: 12 * time.Hour},
				users{t, server, map[string]bool{}}, n, credential.NewFile(state), n.CredentialChanged, logger, discardCredentials),
			Traffic: traffic.NewMeter(steady{}, traffic.Config{Direction: traffic.DirectionBoth, Interval: 10 * time.Second}, n.Sampled, logger),
			Log:     calls.NewLog(logger),
		}
		n.Join(parts)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		defer all.Wait()
		defer cancel()
		for _, part := range []any{parts.Child, parts.Prober, parts.Credentials, parts.Traffic} {
			all.Go(func() { _ = part.(runner).Run(ctx) })
		}
		all.Go(func() { _ = n.Summarize(ctx) })
		time.Sleep(time.Minute)
		log.Take()
		time.Sleep(time.Hour)
		quiet := log.Take()
		// The first reading was at 0 s, the last at 3591 s.
		want := `level=INFO msg=summary duration=1h0m0s state=up allocations=0 allocations_made=0 refused=0 rx_bytes=3591000000 tx_bytes=7182000000 restarts=0 rotations=1 probes_failed=0 record_writes=0`
		if strings.Count(quiet, "\n") != 1 || !strings.Contains(quiet, want) {
			t.Errorf("in a quiet hour there was\n%swant one line:\n%s", quiet, want)
		}

		time.Sleep(2500 * time.Millisecond) // between two probes, whose sessions are not counted
		for i := range 3 {
			parts.Log.(*calls.Log).Stdout(fmt.Appendf(nil, "1: : session %018d: new, realm=<example.org>, username=<alice>, lifetime=600", i+1))
		}
		parts.Log.(*calls.Log).Stdout([]byte("3: : session 000000000000000009: realm <example.org> user <bob>: incoming packet message processed, error 486: Allocation Quota Reached"))
		parts.Child.Restart(supervisor.ReasonRequested)
		if err := n.Rotate(ctx, "test", func(service.Step) {}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		busy := log.Take()
		want = `allocations=0 allocations_made=3 refused=1 rx_bytes=3600000000 tx_bytes=7200000000 restarts=1 rotations=1 probes_failed=0 record_writes=0`
		if !strings.Contains(busy, want) || strings.Contains(busy, "alice") {
			t.Errorf("in a busy hour there was\n%swant a line with\n%s", busy, want)
		}
	})
}
