package directory

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/go-kit/kit/metrics/discard"
	"github.com/go-zookeeper/zk"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestCloseIsBounded: the next session does not wait for a library that never ends.
func TestCloseIsBounded(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	s := New(Config{Servers: []string{z.Addr()}, SessionTimeout: 6 * time.Second, ACL: ACLOpen}, slog.New(slog.DiscardHandler), Metrics{})
	l := openLink(s.cfg, nil, s.known, s.fired, s.logger, &s.complain)
	ended := l.closed
	l.closed = make(chan zk.Event)
	began := time.Now()
	l.close()
	if took := time.Since(began); took < parting {
		t.Errorf("closed after %v, though the library goes on", took)
	}
	for range ended { //nolint:revive // until it has
	}
}

// TestGiveUp has an operation that is never answered on a connection that is alive:
// it ends with the session, and a fresh session follows.
func TestGiveUp(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	s := New(Config{Servers: []string{z.Addr()}, SessionTimeout: 6 * time.Second, ACL: ACLOpen},
		slog.New(slog.DiscardHandler), Metrics{Operations: discard.NewCounter(), Failures: discard.NewCounter()})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	var l *link
	connected := func() (err error) {
		l, err = s.connected()
		return err
	}
	realtest.Eventually(t, 20*time.Second, connected)
	first := l
	err := s.do(l, "exists", func(c *zk.Conn) error {
		for {
			if _, _, err := c.Exists("/"); err != nil {
				return err
			}
		}
	})
	if !errors.Is(err, zk.ErrConnectionClosed) {
		t.Errorf("the operation ended with %v, want a closed connection", err)
	}
	realtest.Eventually(t, 20*time.Second, func() error {
		if err := connected(); err != nil || l == first {
			return errors.New("no fresh session")
		}
		return nil
	})
	if n := s.Status().Expirations; n != 1 {
		t.Errorf("%d sessions were lost, want 1", n)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run returned %v", err)
	}
}
