package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
)

// relayedPeer is a second allocation of the same server, as the two ends of a call
// have that can only be relayed. It needs nothing but the server, wherever that is.
type relayedPeer struct {
	*client
	at   netip.AddrPort
	done chan struct{}
}

// relayedPeer allocates again, and lets the first allocation send to the second.
func (c *client) relayedPeer(ctx context.Context, first Allocation, username, password string) (peer, error) {
	second := &client{Listener: c.Listener}
	err := second.open(ctx)
	if err == nil {
		err = second.challenge(ctx)
	}
	var a Allocation
	if err == nil {
		a, err = second.allocate(ctx, username, password)
	}
	if err != nil {
		second.close()
		e := &Error{Stage: StageRelay, Code: code(err), Err: fmt.Errorf("a second allocation, to send to: %w", err)}
		if inner, ok := errors.AsType[*Error](err); ok {
			e.Late = inner.Late
		}
		return nil, e
	}
	p := &relayedPeer{second, a.Relayed, make(chan struct{})}
	if _, err := second.request(ctx, StageRelay, stun.MethodCreatePermission, peerAddress(*net.UDPAddrFromAddrPort(first.Relayed))); err != nil {
		close(p.done)
		p.close(ctx)
		return nil, err
	}
	_ = second.conn.SetReadDeadline(time.Time{})
	go p.reflect()
	return p, nil
}

// reflect sends back what others have sent to the allocation.
func (p *relayedPeer) reflect() {
	defer close(p.done)
	for {
		raw, err := p.receive()
		if err != nil {
			return
		}
		m := new(stun.Message)
		if _, err := m.Write(raw); err != nil {
			continue
		}
		var from stun.XORMappedAddress
		data, err := m.Get(stun.AttrData)
		if err != nil || from.GetFromAs(m, stun.AttrXORPeerAddress) != nil {
			continue
		}
		_, _ = p.conn.Write(sending(peerAddress{IP: from.IP, Port: from.Port}, data).Raw)
	}
}

func (p *relayedPeer) addr() netip.AddrPort { return p.at }

func (p *relayedPeer) close(ctx context.Context) {
	_ = p.conn.SetReadDeadline(time.Unix(1, 0))
	<-p.done
	_ = p.release(ctx)
	p.client.close()
}
