package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
)

// relayChunk keeps a Send indication below the least MTU of an Internet path.
const relayChunk = 1000

// peer is the far end of an allocation: it sends back whatever reaches it.
type peer interface {
	addr() netip.AddrPort
	close(ctx context.Context)
}

// relay sends bytes to a peer of our own and back, through the first allocation.
func (c *client) relay(ctx context.Context, q Question, first Allocation) (time.Duration, error) {
	var p peer
	var err error
	if q.ToItself {
		p, err = c.relayedPeer(ctx, first, q.Username, q.Password)
	} else {
		p, err = c.loopbackPeer()
	}
	if err != nil {
		return 0, err
	}
	defer p.close(ctx)
	return c.echo(ctx, p, q.Echo)
}

// echo sends n bytes through the allocation to the peer, awaits each of them back,
// and returns how long that took.
func (s *session) echo(ctx context.Context, p peer, n int) (time.Duration, error) {
	to := peerAddress(*net.UDPAddrFromAddrPort(p.addr()))
	if _, err := s.request(ctx, StageRelay, stun.MethodCreatePermission, to); err != nil {
		return 0, err
	}
	begin := time.Now()
	for n > 0 {
		// Random bytes, so that what a repeated send brings back late cannot pass
		// for the next chunk.
		chunk := make([]byte, min(n, relayChunk))
		_, _ = rand.Read(chunk)
		// Between server and peer it may be lost, whatever the client is connected by.
		if _, err := s.exchange(ctx, StageRelay, sending(to, chunk), true, func(m *stun.Message) bool {
			data, err := m.Get(stun.AttrData)
			return err == nil && bytes.Equal(data, chunk)
		}); err != nil {
			return 0, err
		}
		n -= len(chunk)
	}
	return time.Since(begin), nil
}

func sending(to peerAddress, data []byte) *stun.Message {
	// Only attributes that are too long fail to build.
	return stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication),
		to, stun.RawAttribute{Type: stun.AttrData, Value: data})
}

// peerAddress is the XOR-PEER-ADDRESS attribute.
type peerAddress net.UDPAddr

func (p peerAddress) AddTo(m *stun.Message) error {
	return stun.XORMappedAddress{IP: p.IP, Port: p.Port}.AddToAs(m, stun.AttrXORPeerAddress)
}

// loopbackPeer is one on this machine. coturn lets it with allow-loopback-peers only.
type loopbackPeer struct {
	conn *net.UDPConn
	done chan struct{}
}

func (c *client) loopbackPeer() (peer, error) {
	ip := net.IPv6loopback
	if c.addr.Addr().Unmap().Is4() {
		ip = net.IPv4(127, 0, 0, 1)
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip})
	if err != nil {
		return nil, &Error{Stage: StageRelay, Err: fmt.Errorf("%w: open peer: %w", errLocal, err)}
	}
	p := &loopbackPeer{conn, make(chan struct{})}
	go func() {
		defer close(p.done)
		buf := make([]byte, relayChunk)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	return p, nil
}

func (p *loopbackPeer) addr() netip.AddrPort { return p.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

func (p *loopbackPeer) close(context.Context) {
	_ = p.conn.Close()
	<-p.done
}
