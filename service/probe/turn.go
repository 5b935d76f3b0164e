package probe

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
)

// maxSockets is on how many sockets an Allocate is tried. A server that
// was restarted between two of our messages answers 438 and 437 once; a
// source port that the kernel hands out again within a second of its last use
// meets coturn's dead session, and 437, once.
const maxSockets = 3

// Allocation is what a successful Allocate saw.
type Allocation struct {
	Relayed netip.AddrPort
	RTT     time.Duration // of the authenticated Allocate
}

// client asks a listener, stage by stage, on one socket unless that has been used.
type client struct {
	Listener
	*session
}

func (c *client) connect(ctx context.Context) (err error) {
	c.session, err = c.dial(ctx)
	return err
}

func (c *client) close() {
	if c.session != nil {
		c.session.close()
	}
}

// open connects, by TLS where that is how the listener is reached.
func (c *client) open(ctx context.Context) error {
	err := c.connect(ctx)
	if err == nil && c.Transport == TLS {
		_, err = c.secure(ctx)
	}
	return err
}

// elsewhere goes on from another address of this host. With unauthorized-ratelimit coturn
// (4.14 and later) keeps its 401s over UDP from an address that has drawn ten of them in a
// second, which strangers beside us may have done: a server that answers a Binding, and
// an Allocate from elsewhere, is none the worse. Only another loopback address is surely
// ours, and reaches every IPv4 address of this host and nothing beyond.
func (c *client) elsewhere(ctx context.Context) error {
	if c.Transport != UDP || !c.Addr.Addr().Unmap().Is4() {
		return ErrNoAnswer
	}
	c.close()
	c.from = netip.AddrFrom4([4]byte{127, byte(rand.N(255)), byte(rand.N(255)), byte(2 + rand.N(250))})
	return c.connect(ctx)
}

// binding asks for a STUN Binding. A server that wants a credential even for this
// (secure-stun) has answered too; one that has STUN switched off (no-stun) never does.
func (c *client) binding(ctx context.Context) error {
	if _, err := c.request(ctx, StageBind, stun.MethodBinding); code(err) != int(stun.CodeUnauthorized) {
		return err
	}
	return nil
}

// retry runs ask again on a new socket where the present one was another client's
// before us.
func (c *client) retry(ctx context.Context, ask func() error) error {
	for socket := 1; ; socket++ {
		err := ask()
		stale := code(err) == int(stun.CodeAllocMismatch) || code(err) == int(stun.CodeStaleNonce)
		if !stale || socket == maxSockets {
			return err
		}
		c.close()
		if err := c.open(ctx); err != nil {
			return err
		}
	}
}

func (c *client) challenge(ctx context.Context) error {
	return c.retry(ctx, func() error { return c.knock(ctx) })
}

// allocate logs in after a challenge.
func (c *client) allocate(ctx context.Context, username, password string) (a Allocation, err error) {
	err = c.retry(ctx, func() error {
		if c.nonce == nil { // a new socket
			if err := c.knock(ctx); err != nil {
				return err
			}
		}
		a, err = c.logIn(ctx, username, password)
		return err
	})
	return a, err
}

// knock asks for an allocation as a stranger and keeps what the 401 carries,
// which an authenticated request has to repeat.
func (c *client) knock(ctx context.Context) error {
	answer, err := c.askAllocation(ctx, StageUnauthorized)
	switch {
	case err == nil:
		_ = c.release(ctx)
		fallthrough
	case errors.Is(err, ErrFull):
		// RFC 8656 7.2 checks the credential first, so that a stranger who hears of
		// a quota or of ports has not been asked for one.
		return &Error{Stage: StageUnauthorized, Code: code(err), Err: fmt.Errorf("%w by %s", ErrOpenRelay, c.addr)}
	case code(err) != int(stun.CodeUnauthorized):
		return err
	}
	if err := answer.Parse(&c.realm, &c.nonce); err != nil {
		return &Error{Stage: StageUnauthorized, Code: int(stun.CodeUnauthorized), Err: fmt.Errorf("read realm and nonce from %s: %w", c.addr, err)}
	}
	return nil
}

func (c *client) logIn(ctx context.Context, username, password string) (a Allocation, err error) {
	c.key = stun.NewLongTermIntegrity(username, c.realm.String(), password)
	c.auth = []stun.Setter{stun.NewUsername(username), c.realm, c.nonce, c.key}
	begin := time.Now()
	answer, err := c.askAllocation(ctx, StageAllocate)
	if errors.Is(err, ErrNoAnswer) {
		// The answer may have been lost, or the server may be hung with the
		// request in its socket: what it allocates when it wakes, this gives back.
		ended, cancel := context.WithCancel(ctx)
		cancel()
		_ = c.release(ended)
	}
	if err != nil {
		return a, err
	}
	a.RTT = time.Since(begin)
	if a.Relayed, err = c.relayed(answer); err != nil {
		_ = c.release(ctx)
	}
	return a, err
}

func (s *session) askAllocation(ctx context.Context, stage string) (*stun.Message, error) {
	attrs := []stun.Setter{stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}}} // UDP
	if s.addr.Addr().Is6() && !s.addr.Addr().Is4In6() {
		// Without it a server relays over IPv4 (RFC 8656 7.1), which one that
		// listens on IPv6 alone refuses with 440.
		attrs = append(attrs, stun.RawAttribute{Type: stun.AttrRequestedAddressFamily, Value: []byte{2, 0, 0, 0}})
	}
	return s.request(ctx, stage, stun.MethodAllocate, attrs...)
}

// release gives the allocation back. coturn 4.6.1 keeps the relay port and the
// share of the quota for 1.00 s more.
func (s *session) release(ctx context.Context) error {
	_, err := s.request(ctx, StageRefresh, stun.MethodRefresh, stun.RawAttribute{Type: stun.AttrLifetime, Value: make([]byte, 4)})
	return err
}

func (s *session) relayed(answer *stun.Message) (netip.AddrPort, error) {
	var at stun.XORMappedAddress
	if err := at.GetFromAs(answer, stun.AttrXORRelayedAddress); err != nil {
		return netip.AddrPort{}, &Error{Stage: StageAllocate, Err: fmt.Errorf("read relayed address from %s: %w", s.addr, err)}
	}
	ip, _ := netip.AddrFromSlice(at.IP)
	return netip.AddrPortFrom(ip.Unmap(), uint16(at.Port)), nil
}
