package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// Transport is how a client talks to a server.
type Transport string

// The transports that are probed. DTLS, which hardly a client uses, is not.
const (
	UDP Transport = "udp"
	TCP Transport = "tcp"
	TLS Transport = "tls"
)

// Listener is where a server answers, as a client sees it.
type Listener struct {
	Transport Transport
	Addr      netip.AddrPort // one without an IP: the server has not opened that port

	// Host is whom the certificate must name, signed by an authority that this
	// machine trusts. Without it the dates alone count: which names and
	// authorities the clients of a server of our own go by is not known here.
	Host string

	// Asked is told the address of each of our sockets, and Refused each error code
	// that we get but the challenge, so that whoever counts the server's sessions and
	// refusals can leave ours out; nil = nobody does.
	Asked   func(local netip.AddrPort)
	Refused func(code int)

	from netip.Addr // where our sockets are; the zero Addr leaves that to the kernel
}

// Allocate proves that a credential works and leaves nothing allocated; ctx alone
// bounds the wait.
func (l Listener) Allocate(ctx context.Context, username, password string) (Allocation, error) {
	r := Question{Listener: l, NoSTUN: true, Username: username, Password: password}.Ask(ctx)
	return r.Allocation, r.Err()
}

// dial opens a socket, and so a source port, of its own. coturn pins the user
// name to it, even after a failed attempt, so that no socket ever serves two
// credentials (437 otherwise); and a fixed source port could never see a second
// server that shares the port through SO_REUSEPORT, because the kernel hashes it
// to the same one each time.
func (l Listener) dial(ctx context.Context) (*session, error) {
	if !l.Addr.Addr().IsValid() {
		return nil, &Error{Stage: StageResolve, Err: fmt.Errorf("%w: the server has not opened %s port %d", ErrNoAnswer, l.network(), l.Addr.Port())}
	}
	var d net.Dialer
	if l.from.IsValid() {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(l.from, 0))
	}
	// A connected UDP socket learns from ICMP that nobody listens, at once.
	conn, err := d.DialContext(ctx, l.network(), l.Addr.String())
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return nil, &Error{Stage: StageBind, Err: fmt.Errorf("%w %s: %w", errLocal, l.Addr, err)}
	case err != nil:
		return nil, noAnswer(ctx, StageBind, l.Addr, err)
	}
	if l.Asked != nil {
		local, _ := netip.ParseAddrPort(conn.LocalAddr().String())
		l.Asked(netip.AddrPortFrom(local.Addr().Unmap(), local.Port()))
	}
	s := newSession(l.Addr, conn)
	s.refused = l.Refused
	return s, nil
}

func (l Listener) network() string {
	if l.Transport == UDP {
		return "udp"
	}
	return "tcp"
}

// secure makes a TLS session of the TCP one and returns the certificates that the
// server showed, whatever they are worth.
func (c *client) secure(ctx context.Context) (chain []*x509.Certificate, err error) {
	var untrusted error
	conn := tls.Client(c.conn, &tls.Config{
		ServerName:         c.Host,
		InsecureSkipVerify: true, // verify looks at them, and keeps bad ones
		VerifyConnection: func(state tls.ConnectionState) error {
			chain = state.PeerCertificates
			untrusted = verify(chain, c.Host, time.Now())
			return untrusted
		},
	})
	switch err := conn.HandshakeContext(ctx); {
	case untrusted != nil:
		return chain, &Error{Stage: StageTLS, Err: fmt.Errorf("handshake with %s: %w: %w", c.Addr, ErrUntrusted, untrusted)}
	case err != nil && ctx.Err() != nil:
		return chain, noAnswer(ctx, StageTLS, c.Addr, ctx.Err())
	case err != nil:
		return chain, &Error{Stage: StageTLS, Err: fmt.Errorf("handshake with %s: %w", c.Addr, err)}
	}
	c.stream(conn)
	return chain, nil
}
