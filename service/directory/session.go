package directory

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/go-kit/kit/metrics"
	"github.com/go-zookeeper/zk"
	"golang.org/x/time/rate"
)

// Who may write the nodes that we create; everybody may read them.
const (
	ACLOpen   = "open"   // everybody
	ACLDigest = "digest" // who knows the credential
)

// Config says which ZooKeeper to use and how.
type Config struct {
	Servers        []string // at least one, as ParseServer returns them
	SessionTimeout time.Duration
	Auth           Secret      // empty: none
	ACL            string      // ACLOpen or ACLDigest; ACLDigest needs Auth
	TLS            *tls.Config // nil: plain TCP
	StateFile      string      // remembers our session ids; empty: not beyond this process
}

// Metrics are the events of a session.
type Metrics struct {
	Operations metrics.Counter // by operation: create, set, delete, exists; children, get
	Failures   metrics.Counter // those that ZooKeeper did not answer or did not allow
}

// Begin has the operations that will be used appear at 0.
func (m Metrics) Begin(operations ...string) {
	for _, operation := range operations {
		m.Operations.With("operation", operation).Add(0)
		m.Failures.With("operation", operation).Add(0)
	}
}

// State is where a session stands.
type State string

// The states of a session, in the order in which a node meets them.
const (
	Connecting   State = "connecting"   // none so far
	Connected    State = "connected"    // operations are possible
	Disconnected State = "disconnected" // it may live on, the connection does not
	Expired      State = "expired"      // lost, and no new one yet
)

// Status is what is known about the session at one moment.
type Status struct {
	State       State
	Timeout     time.Duration // the one in force, once negotiated
	Expirations uint64        // sessions lost, be it by ZooKeeper's word or by our own patience
	LastError   string        // why there is no connection; empty while there is one
}

// ErrNoSession says that ZooKeeper cannot be asked now.
var ErrNoSession = errors.New("no ZooKeeper session")

// Session is a ZooKeeper session, and the next one when that is lost.
type Session struct {
	cfg      Config
	logger   *slog.Logger
	metrics  Metrics
	mine     *memory
	known    map[string][]string
	complain rate.Sometimes
	changed  chan struct{}

	follower *Follower // nil: none

	mu     sync.Mutex
	resume *Saved // the session of an earlier image of this process, for the first link
	link   *link  // whose session stands, at least as far as we know; nil without one
	latest *link
	status Status
}

// New returns a session that begins with Run.
func New(cfg Config, logger *slog.Logger, m Metrics) *Session {
	mine, err := recall(cfg.StateFile)
	if err != nil {
		logger.Warn("the ZooKeeper sessions before this start are not known: a node one of them left may have to expire first", "err", err)
	}
	return &Session{
		cfg:      cfg,
		logger:   logger,
		metrics:  m,
		mine:     mine,
		known:    make(map[string][]string),
		complain: rate.Sometimes{First: 1, Interval: time.Minute},
		changed:  make(chan struct{}, 1),
		status:   Status{State: Connecting, Timeout: cfg.SessionTimeout},
	}
}

// Run keeps a session until ctx ends, and then closes it, which removes its
// ephemeral nodes. It is back within three seconds even from a ZooKeeper that hangs.
func (s *Session) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		// A fleet must not storm a ZooKeeper that ends sessions as soon as they stand.
		again := time.NewTimer(time.Second)
		l := openLink(s.cfg, s.resume, s.known, s.fired, s.logger, &s.complain)
		s.hold(ctx, l)
		s.drop(ctx, l)
		l.close()
		select {
		case <-ctx.Done():
		case <-again.C:
		}
		again.Stop()
	}
	return nil
}

// Changed wakes one reader: after a change of State, when a node that was in
// another's hands may be free, and when a Follower has something to read.
func (s *Session) Changed() <-chan struct{} { return s.changed }

// Status returns where the session stands.
func (s *Session) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.status
	if s.latest != nil {
		status.Timeout = s.latest.timeout()
		if status.State != Connected {
			status.LastError = s.latest.lastTrouble()
		}
	}
	return status
}

// fired is told the path of each watch that fires, inside the library's loops.
func (s *Session) fired(path string) {
	if s.follower != nil && s.follower.stir(path) {
		wake(s.changed)
	}
}

// hold follows the link until it is of no more use.
func (s *Session) hold(ctx context.Context, l *link) {
	s.mu.Lock()
	s.latest = l
	s.mu.Unlock()
	patience := time.NewTimer(time.Hour)
	patience.Stop()
	ready := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-patience.C:
			// The client never learns of an expiry without a server that says so, and after
			// a loss of ZooKeeper's data none ever does (ZOOKEEPER-4508: 4/3 of the timeout).
			return
		case <-l.changed:
		}
		switch l.current() {
		case linkUp:
			patience.Stop()
			if !ready {
				if err := s.begin(ctx, l); err != nil {
					s.complain.Do(func() {
						s.logger.Error("ZooKeeper did not take the credential of registry.auth_file; trying again every second", "err", err)
					})
					return
				}
				ready = true
			}
			s.enter(l, Connected)
		case linkDown:
			patience.Reset(l.timeout() * 13 / 10)
			if ready {
				s.enter(l, Disconnected)
			}
		case linkSpent:
			return
		}
	}
}

// begin makes a new session ready for its first operation.
func (s *Session) begin(ctx context.Context, l *link) error {
	if s.cfg.Auth != "" {
		defer context.AfterFunc(ctx, l.giveUp)()
		defer time.AfterFunc(l.timeout(), l.giveUp).Stop()
		// The library sends it again after a reconnect, but only if this succeeded.
		if err := l.conn.AddAuth("digest", []byte(s.cfg.Auth)); err != nil {
			return err
		}
	}
	// Before the first create: its answer may be lost, and the node then be taken for
	// another's after a restart (KAFKA-14845).
	if err := s.mine.add(l.conn.SessionID()); err != nil {
		s.logger.Warn("cannot remember the ZooKeeper session: after a crash the node may have to expire before it is ours again", "err", err)
	}
	return nil
}

func (s *Session) enter(l *link, state State) {
	s.mu.Lock()
	before := s.status.State
	s.link, s.status.State = l, state
	s.mu.Unlock()
	if before == state {
		return
	}
	if state == Connected {
		s.logger.Info("ZooKeeper session stands", "address", l.conn.Server(), "timeout", l.timeout())
	} else {
		s.logger.Warn("connection to ZooKeeper lost; what is registered stays until the session expires",
			"err", l.lastTrouble(), "timeout", l.timeout())
	}
	wake(s.changed)
}

// drop parts with a link and, if it had one, with its session.
func (s *Session) drop(ctx context.Context, l *link) {
	s.mu.Lock()
	had := s.link == l
	s.link = nil
	s.resume = nil // a second try would find it expired
	switch {
	case ctx.Err() != nil:
		s.status.State = Disconnected
	case had:
		s.status.State = Expired
		s.status.Expirations++
	}
	s.mu.Unlock()
	if had && ctx.Err() == nil {
		s.logger.Warn("ZooKeeper session lost; what it registered is gone until there is a new one", "err", l.lastTrouble())
	}
	wake(s.changed)
}

// connected returns the link on which operations are possible.
func (s *Session) connected() (*link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.State != Connected {
		return nil, ErrNoSession
	}
	return s.link, nil
}

// do runs one operation. The library has no contexts (go-zookeeper#12): it ends
// with its answer, with the link, or when it took a whole session timeout.
func (s *Session) do(l *link, operation string, f func(*zk.Conn) error) error {
	defer time.AfterFunc(l.timeout(), l.giveUp).Stop()
	err := f(l.conn)
	s.metrics.Operations.With("operation", operation).Add(1)
	switch {
	case err == nil, errors.Is(err, zk.ErrNoNode), errors.Is(err, zk.ErrNodeExists), errors.Is(err, zk.ErrBadVersion):
		// These are answers about the node, and the caller knows what to do.
	default:
		s.metrics.Failures.With("operation", operation).Add(1)
	}
	return err
}

// acl is what our nodes, and parents that we have to create, get at their creation.
func (s *Session) acl() []zk.ACL {
	if s.cfg.ACL == ACLDigest {
		return append(zk.AuthACL(zk.PermAll), zk.WorldACL(zk.PermRead)...)
	}
	return zk.WorldACL(zk.PermAll)
}
