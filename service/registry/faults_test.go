package registry_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"go.uber.org/goleak"

	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/registry"
)

// registered starts a ZooKeeper and a host, and waits until it is registered.
func registered(t *testing.T, timeout, interval time.Duration) (*realtest.ZooKeeper, *host, *observer) {
	t.Helper()
	z := realtest.StartZooKeeper(t)
	cfg := newConfig(t, z, "/servers")
	cfg.Directory.SessionTimeout, cfg.Interval = timeout, interval
	h := startHost(t, cfg, "10.0.0.1:1")
	o := look(t, z, "/servers/turn-1")
	o.eventually("10.0.0.1:1")
	return z, h, o
}

func TestLongPause(t *testing.T) {
	t.Parallel()
	// No write is due for an hour: what comes after the pause comes at once.
	z, h, o := registered(t, timeout, time.Hour)
	_, before, err := o.record()
	if err != nil {
		t.Fatal(err)
	}
	z.Pause()
	// The host itself has given its session up by then. At half of that, it is a matter
	// of chance whether ZooKeeper ends the session or hears from it first.
	<-time.After(2*timeout + timeout/2)
	// Nobody waits for ZooKeeper: these would hang here.
	h.Kick()
	realtest.Eventually(t, soon, func() error {
		if s := h.Status(); s.Registered || s.Session.State != directory.Expired {
			return fmt.Errorf("status %+v after 2.5 timeouts of silence, want an expired session", s)
		}
		return nil
	})
	z.Cont()
	pace := realtest.NewPace()
	o.until("a new session owns", func(_ directory.Record, s *zk.Stat) bool { return s.EphemeralOwner != before.EphemeralOwner })
	pace.Within(t, 3*time.Second, "back")
	realtest.Eventually(t, soon, func() error {
		if s := h.Status(); !s.Registered || s.Session.Expirations < 1 {
			return fmt.Errorf("status %+v, want an expiration and a registered host", s)
		}
		return nil
	})
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	z, _, o := registered(t, timeout, interval)
	z.Pause()
	<-time.After(timeout + timeout/2)
	z.Cont()
	pace := realtest.NewPace()
	o.written(1)
	pace.Within(t, 3*time.Second, "back")
}

func TestShortPause(t *testing.T) {
	t.Parallel()
	z, h, o := registered(t, 2*patient, interval)
	end := o.follow()
	z.Pause()
	<-time.After(patient)
	z.Cont()
	o.written(3)
	if s := end(); s.absent > 0 || len(s.owners) != 1 || h.Status().Session.Expirations != 0 {
		t.Errorf("absent %d times, owners %x, want neither a gap nor a new session", s.absent, s.owners)
	}
}

func TestRestartOfZooKeeper(t *testing.T) {
	t.Parallel()
	z, _, o := registered(t, 30*time.Second, interval)
	end := o.follow()
	_, before, err := o.record()
	if err != nil {
		t.Fatal(err)
	}
	z.Restart()
	o.written(3)
	if _, after, err := o.record(); err != nil || after.Czxid != before.Czxid {
		t.Errorf("the node was created anew (%v), want the same one", err)
	}
	if s := end(); s.absent > 0 {
		t.Errorf("absent %d times, want never", s.absent)
	}
}

func TestWipe(t *testing.T) {
	t.Parallel()
	z, _, o := registered(t, timeout, interval)
	z.Kill()
	z.Wipe()
	z.Start()
	z.WaitReady()
	pace := realtest.NewPace()
	// The observer's own client is refused by an empty ZooKeeper, as any would be.
	look(t, z, o.path).eventually("10.0.0.1:1")
	pace.Within(t, timeout+timeout/2+2*time.Second, "back")
}

func TestHungServer(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	hung, err := net.Listen("tcp", realtest.Loopback(t)+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer hung.Close()
	accepted := make(chan struct{}, 100)
	go func() {
		for {
			c, err := hung.Accept()
			if err != nil {
				return
			}
			accepted <- struct{}{}
			go func() { _, _ = io.Copy(io.Discard, c); _ = c.Close() }()
		}
	}()
	cfg := newConfig(t, z, "/servers")
	cfg.Directory.Servers = []string{hung.Addr().String(), z.Addr()}
	cfg.Directory.SessionTimeout = 20 * time.Second // a third of it may go into a handshake that hangs
	startHost(t, cfg, "10.0.0.1:1")
	o := look(t, z, "/servers/turn-1")
	o.eventually("10.0.0.1:1")
	end := o.follow()
	z.Restart()
	o.written(1)
	<-accepted // The good server was away, so the hung one was asked.
	if s := end(); s.absent > 0 || len(s.owners) != 1 {
		t.Errorf("absent %d times, owners %x, want the same session all along", s.absent, s.owners)
	}
}

func TestStopWhileZooKeeperHangs(t *testing.T) {
	for name, hung := range map[string]func(*testing.T, *host){
		"during a write": func(t *testing.T, h *host) {
			flush, cancel := context.WithTimeout(t.Context(), 2*interval)
			defer cancel()
			_ = h.Flush(flush) // It ends with its context; the write goes on.
		},
		"during the handshake": func(t *testing.T, h *host) {
			realtest.Eventually(t, soon, func() error {
				if s := h.Status().Session; s.State != directory.Disconnected {
					return fmt.Errorf("session %+v", s)
				}
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The library would wait for two thirds of the timeout, more than we may take.
			z, h, _ := registered(t, 15*time.Second, interval)
			z.Pause()
			defer z.Cont()
			hung(t, h)
			pace := realtest.NewPace()
			h.stop()
			pace.Within(t, 3*time.Second, "stopped")
		})
	}
}

func TestGrantedTimeout(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t, "minSessionTimeout=6000")
	cfg := newConfig(t, z, "/servers")
	cfg.Directory.SessionTimeout, cfg.Interval = time.Second, time.Hour
	h := startHost(t, cfg, "10.0.0.1:1")
	look(t, z, "/servers/turn-1").eventually("10.0.0.1:1")
	<-time.After(3 * time.Second) // Pings alone, two seconds apart: more than the asked timeout.
	if s := h.Status().Session; s.Timeout != 6*time.Second || s.State != directory.Connected {
		t.Errorf("session %+v, want a connected one with the server's least timeout, 6 s", s)
	}
	if logged := h.logs.String(); !strings.Contains(logged, "asked=1s granted=6s") || strings.Contains(logged, "lost") {
		t.Errorf("want the granted timeout and no loss in the log:\n%s", logged)
	}
}

func TestLeaderKill(t *testing.T) {
	t.Parallel()
	members := realtest.StartEnsemble(t)
	cfg := newConfig(t, members[0], "/servers")
	cfg.Directory.SessionTimeout = 15 * time.Second
	cfg.Directory.Servers = nil
	var leader, follower *realtest.ZooKeeper
	for _, z := range members {
		cfg.Directory.Servers = append(cfg.Directory.Servers, z.Addr())
		mode := "" // It stays so for an answer that comes late.
		realtest.Eventually(t, soon, func() error {
			if mode = z.Mode(); mode == "" {
				return fmt.Errorf("%s does not say what it is", z.Addr())
			}
			return nil
		})
		if mode == "leader" {
			leader = z
		} else {
			follower = z
		}
	}
	startHost(t, cfg, "10.0.0.1:1")
	o := look(t, follower, "/servers/turn-1")
	o.eventually("10.0.0.1:1")
	end := o.follow()
	leader.Kill()
	o.written(5)
	if s := end(); s.absent > 0 || len(s.owners) != 1 {
		t.Errorf("absent %d times, owners %x, want the same session all along", s.absent, s.owners)
	}
}

// TestNoGoroutineLeft is apart from the others because it counts goroutines.
func TestNoGoroutineLeft(t *testing.T) {
	z := realtest.StartZooKeeper(t)
	standing := goleak.IgnoreCurrent()
	for name, fault := range map[string]func(){
		"healthy": func() {},
		"hung":    z.Pause,
		"down":    z.Kill,
	} {
		ctx, cancel := context.WithCancel(t.Context())
		cfg := newConfig(t, z, "/servers")
		r := registry.New(cfg, func() registry.Publication { return present("10.0.0.1:1") }, slog.New(slog.DiscardHandler), (&counts{}).metrics())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		realtest.Eventually(t, soon, func() error {
			if !r.Status().Registered {
				return fmt.Errorf("status %+v", r.Status())
			}
			return nil
		})
		fault()
		<-time.After(2 * interval) // For an operation to hang in.
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: Run returned %v", name, err)
		}
		if err := goleak.Find(standing); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		z.Kill()
		z.Start()
		z.WaitReady()
		standing = goleak.IgnoreCurrent() // The server's own goroutine is a new one.
	}
}
