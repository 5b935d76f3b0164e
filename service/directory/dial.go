package directory

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// hosts walks the servers and looks their names up again each time round: the
// library would do so once, at its start (go-zookeeper#107). It is the library's
// HostProvider, called by one goroutine.
type hosts struct {
	ctx     context.Context
	lookup  func(ctx context.Context, host string) ([]string, error)
	servers []string            // host:port, as ParseServer returns them
	known   map[string][]string // the addresses a name had last, for when DNS is away
	round   []string
	names   map[string]string // the name behind an address of the round, which TLS verifies
	next    int
	tried   int
}

func (h *hosts) Init([]string) error { return nil }

func (h *hosts) Len() int { return len(h.round) }

// Next returns true, which makes the library pause for a second, when every address
// was tried in vain. The address of a session that was just lost counts as tried, or
// a server that drops us at once would be asked again in a hot loop.
func (h *hosts) Next() (string, bool) {
	if h.ctx.Err() != nil {
		return "", true // Only in its pause does the library see that it was closed.
	}
	pause := h.tried > 0 && h.tried >= len(h.round)
	if pause {
		h.tried = 0
	}
	h.tried++
	if h.next >= len(h.round) {
		h.resolve()
		h.next = 0
	}
	h.next++
	return h.round[h.next-1], pause
}

func (h *hosts) Connected() { h.tried = 1 }

func (h *hosts) resolve() {
	ctx, cancel := context.WithTimeout(h.ctx, 2*time.Second)
	defer cancel()
	h.round, h.names = nil, make(map[string]string)
	for _, server := range h.servers {
		host, port, _ := net.SplitHostPort(server)
		addrs := []string{host}
		if _, err := netip.ParseAddr(host); err != nil {
			if found, err := h.lookup(ctx, host); err == nil {
				h.known[host] = found
			}
			// A name that never had an address stays in the list: dialing it fails with
			// the resolver's own words, and one bad name must not hide the good ones.
			if len(h.known[host]) > 0 {
				addrs = h.known[host]
			}
		}
		for _, a := range addrs {
			addr := net.JoinHostPort(a, port)
			h.round = append(h.round, addr)
			h.names[addr] = host
		}
	}
	rand.Shuffle(len(h.round), func(i, j int) { h.round[i], h.round[j] = h.round[j], h.round[i] })
}

// capConn bounds the handshake. The library allows it ten read timeouts, 6.7 session
// timeouts, and then reads the rest without any: one hung server in the list kept a
// node off for 47 s at a session timeout of 6 s, and with this bound not at all.
type capConn struct {
	net.Conn
	limit atomic.Int64 // nanoseconds; 0 once the session stands, for then the library's own deadlines do
}

// SetReadDeadline cuts the deadline to the limit; "none" is one to be cut as well.
func (c *capConn) SetReadDeadline(t time.Time) error {
	if limit := time.Duration(c.limit.Load()); limit > 0 {
		if end := time.Now().Add(limit); t.IsZero() || t.After(end) {
			t = end
		}
	}
	return c.Conn.SetReadDeadline(t)
}

// dial connects to one address, with TLS if that is configured.
func (l *link) dial(_, addr string, timeout time.Duration) (net.Conn, error) {
	if l.current() == linkSpent {
		return nil, fmt.Errorf("dial %s: this session has ended", addr)
	}
	// Less than a second is too little for a server that has just started.
	limit := max(l.asked/3, time.Second)
	conn, err := (&net.Dialer{Timeout: timeout}).DialContext(l.ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if l.tls != nil {
		cfg := l.tls.Clone()
		if cfg.ServerName == "" {
			cfg.ServerName = l.hosts.names[addr]
		}
		secured := tls.Client(conn, cfg)
		ctx, cancel := context.WithTimeout(l.ctx, limit)
		defer cancel()
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("TLS with %s: %w", addr, err)
		}
		conn = secured
	}
	sock := &capConn{Conn: l.identity.conn(conn)}
	sock.limit.Store(int64(limit))
	if err := l.use(sock); err != nil {
		return nil, err
	}
	return sock, nil
}
