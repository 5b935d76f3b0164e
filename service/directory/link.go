package directory

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
	"golang.org/x/time/rate"
)

// linkState is what the library's events say about the one session of a link.
type linkState int

const (
	linkDialing linkState = iota // no session so far
	linkUp
	linkDown  // the session may live on, the connection does not
	linkSpent // the session is over, or we no longer wait for it
)

// link is one connection of the library and at most one ZooKeeper session. A second
// session would run what was queued for the first, a create of long ago among it.
type link struct {
	conn     *zk.Conn
	closed   <-chan zk.Event // the library's channel of events, of use only for its end
	hosts    *hosts
	tls      *tls.Config
	asked    time.Duration
	logger   *slog.Logger
	complain *rate.Sometimes
	ctx      context.Context // ends with abort
	cancel   context.CancelFunc
	changed  chan struct{}
	fired    func(path string)
	identity identity

	mu      sync.Mutex
	state   linkState
	sock    *capConn
	granted time.Duration // what the server made of the asked session timeout
	trouble string
}

// openLink returns at once; what becomes of the link is told through changed.
func openLink(cfg Config, resume *Saved, known map[string][]string, fired func(path string), logger *slog.Logger, complain *rate.Sometimes) *link {
	ctx, cancel := context.WithCancel(context.Background())
	l := &link{
		hosts:    &hosts{ctx: ctx, lookup: net.DefaultResolver.LookupHost, servers: cfg.Servers, known: known},
		tls:      cfg.TLS,
		asked:    cfg.SessionTimeout,
		granted:  cfg.SessionTimeout,
		logger:   logger,
		complain: complain,
		ctx:      ctx,
		cancel:   cancel,
		changed:  make(chan struct{}, 1),
		fired:    fired,
		identity: identity{resume: resume},
	}
	// An error is an empty list or an Init that fails: New and hosts see to both.
	l.conn, l.closed, _ = zk.Connect(cfg.Servers, cfg.SessionTimeout,
		zk.WithDialer(l.dial), zk.WithHostProvider(l.hosts), zk.WithLogger(l),
		// The channel of events holds six and drops the rest without a word.
		zk.WithEventCallback(l.event),
		// 3 MB a connection otherwise, and an answer without bounds. After a reconnect the
		// library arms its watches again in packets of up to 128 KiB, and drops without a
		// word what the first buffer cannot hold. An answer above the second ends the connection,
		// again and again: the longest record that ZooKeeper takes is above 1 MiB by its header,
		// and a list has no bound.
		zk.WithMaxConnBufferSize(160<<10), zk.WithMaxBufferSize(16<<20))
	return l
}

// event runs inside the library's loops: it must not block, nor ask ZooKeeper.
func (l *link) event(e zk.Event) {
	switch e.Type {
	case zk.EventSession:
	case zk.EventNodeCreated, zk.EventNodeDataChanged, zk.EventNodeChildrenChanged, zk.EventNodeDeleted:
		l.fired(e.Path)
		return
	default:
		return
	}
	switch e.State {
	case zk.StateHasSession:
		l.set(linkUp)
	case zk.StateDisconnected:
		l.set(linkDown)
	case zk.StateExpired:
		l.set(linkSpent)
	}
}

func (l *link) set(to linkState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A spent link stays so, and one that never was up cannot go down. To be down again,
	// as after each refused handshake, is no news: it must not begin our patience anew.
	if l.state == linkSpent || l.state == to || l.state == linkDialing && to == linkDown {
		return
	}
	if to == linkUp {
		l.sock.limit.Store(0)
	}
	l.state = to
	wake(l.changed)
}

func (l *link) current() linkState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// timeout is the session timeout in force.
func (l *link) timeout() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.granted
}

func (l *link) lastTrouble() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.trouble
}

// use makes sock the socket of the link. The one before is closed: after an expiry
// the library leaves it to the garbage collector.
func (l *link) use(sock *capConn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sock != nil {
		_ = l.sock.Close()
	}
	l.sock = sock
	if err := l.ctx.Err(); err != nil {
		_ = sock.Close()
		return err
	}
	return nil
}

// giveUp ends the link for an operation that takes longer than the session could
// live. Closing also frees the caller; the operation may still be carried out.
func (l *link) giveUp() {
	l.set(linkSpent)
	l.conn.Close()
}

// close ends the session and waits for the library's goroutines. ZooKeeper removes
// our ephemeral nodes with the session, so a server that answers has done so when
// close returns; one that hangs costs the library's second.
func (l *link) close() {
	if l.current() != linkUp {
		l.abort() // There is nobody to take leave of.
	}
	l.conn.Close()
	l.abort()
	late := time.NewTimer(parting)
	defer late.Stop()
	for {
		select {
		case _, open := <-l.closed: // which is closed last of all
			if !open {
				return
			}
		case <-late.C:
			l.logger.Warn("the ZooKeeper client has not ended; going on without it")
			return
		}
	}
}

// parting is how long the library may take to end. It may never: a request that is made
// just as the link is given up can get three answers, where it has room for two.
const parting = 2 * time.Second

// abort ends every wait for the network. Close alone leaves a goroutine behind for
// as long as a hung handshake or read takes (39 s were seen).
func (l *link) abort() {
	l.cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sock != nil {
		_ = l.sock.Close()
	}
}

// Printf is the library's log. Its lines are for debugging, one a second while
// ZooKeeper is away, and hold session ids; what they know and nobody else does is the
// negotiated timeout and the cause of trouble.
func (l *link) Printf(format string, args ...any) {
	if format == "authenticated: id=%d, timeout=%d" && len(args) == 2 {
		if ms, ok := args[1].(int32); ok {
			l.grant(time.Duration(ms) * time.Millisecond)
		}
		return
	}
	for _, arg := range args {
		if err, ok := arg.(error); ok && l.ctx.Err() == nil {
			l.blame(err)
		}
	}
}

// grant takes the session timeout that the server chose: it keeps the asked one
// within its own limits, by default 4 to 40 s, and says nothing.
func (l *link) grant(granted time.Duration) {
	l.mu.Lock()
	news := granted != l.granted
	l.granted = granted
	l.mu.Unlock()
	if news {
		l.logger.Warn("ZooKeeper granted another session timeout than registry.session_timeout: a dead host stays listed for that long",
			"asked", l.asked, "granted", granted)
	}
}

func (l *link) blame(err error) {
	l.mu.Lock()
	state := l.state
	if state != linkSpent { // What follows the end of a session is not its cause.
		l.trouble = err.Error()
	}
	l.mu.Unlock()
	if state == linkDialing {
		l.complain.Do(func() {
			l.logger.Warn("no ZooKeeper session; trying again every second", "err", err,
				"hint", "if the server runs: does its port speak TLS, does it want a client certificate?")
		})
	}
}

// wake leaves a note for whoever waits, unless there is one already.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
