package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"

	"github.com/pion/stun/v4"
)

// relayChunk keeps a Send indication below the least MTU of an Internet path.
const relayChunk = 1000

// echo sends n bytes through the allocation to a peer of our own on loopback and
// awaits each of them back. coturn lets it with allow-loopback-peers only.
func (s *session) echo(ctx context.Context, n int) error {
	ip := net.IPv6loopback
	if s.addr.Addr().Unmap().Is4() {
		ip = net.IPv4(127, 0, 0, 1)
	}
	peer, err := listenEcho(ip)
	if err != nil {
		return &Error{Stage: StageRelay, Err: fmt.Errorf("%w: open peer: %w", errLocal, err)}
	}
	defer peer.close()
	to := peerAddress(*peer.conn.LocalAddr().(*net.UDPAddr))
	if _, err := s.request(ctx, StageRelay, stun.MethodCreatePermission, to); err != nil {
		return err
	}
	for n > 0 {
		// Random bytes, so that what a repeated send brings back late cannot pass
		// for the next chunk.
		chunk := make([]byte, min(n, relayChunk))
		_, _ = rand.Read(chunk)
		send, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication),
			to, stun.RawAttribute{Type: stun.AttrData, Value: chunk})
		if err != nil {
			return &Error{Stage: StageRelay, Err: fmt.Errorf("build indication: %w", err)}
		}
		// Between server and peer it may be lost, whatever the client is connected by.
		if _, err := s.exchange(ctx, StageRelay, send, true, func(m *stun.Message) bool {
			data, err := m.Get(stun.AttrData)
			return err == nil && bytes.Equal(data, chunk)
		}); err != nil {
			return err
		}
		n -= len(chunk)
	}
	return nil
}

// peerAddress is the XOR-PEER-ADDRESS attribute.
type peerAddress net.UDPAddr

func (p peerAddress) AddTo(m *stun.Message) error {
	return stun.XORMappedAddress{IP: p.IP, Port: p.Port}.AddToAs(m, stun.AttrXORPeerAddress)
}

// echo is a peer that sends every datagram back.
type echo struct {
	conn *net.UDPConn
	done chan struct{}
}

func listenEcho(ip net.IP) (*echo, error) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip})
	if err != nil {
		return nil, err
	}
	e := &echo{conn: conn, done: make(chan struct{})}
	go func() {
		defer close(e.done)
		buf := make([]byte, relayChunk)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	return e, nil
}

func (e *echo) close() {
	_ = e.conn.Close()
	<-e.done
}
