package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
)

// maxSockets is how often Allocate starts over on a new socket. A server that
// was restarted between two of our messages answers 438 and 437 once; a
// source port that the kernel hands out again within a second of its last use
// meets coturn's dead session, and 437, once.
const maxSockets = 3

// Allocation is what a successful Allocate saw.
type Allocation struct {
	Relayed netip.AddrPort
	RTT     time.Duration // of the authenticated Allocate
}

// Binding asks for a STUN Binding. Here as below, ctx bounds the wait. A server
// that wants a credential even for this (secure-stun) has answered too; one that
// has STUN switched off (no-stun) never does.
func Binding(ctx context.Context, addr netip.AddrPort) error {
	s, err := dial(addr, StageBind)
	if err != nil {
		return err
	}
	defer s.close()
	if _, err = s.request(ctx, StageBind, stun.MethodBinding); code(err) == int(stun.CodeUnauthorized) {
		return nil
	}
	return err
}

// Anonymous asks for an allocation without a credential and returns nil when the
// server refuses with 401, as it must. ErrOpenRelay is certain; what was
// allocated is given back.
func Anonymous(ctx context.Context, addr netip.AddrPort) error {
	s, err := dial(addr, StageUnauthorized)
	if err != nil {
		return err
	}
	defer s.close()
	_, _, err = s.challenge(ctx)
	return err
}

// Allocate proves that a credential works, and leaves nothing allocated. coturn
// 4.6.1 keeps the relay port and the share of the quota for 1.00 s more.
func Allocate(ctx context.Context, addr netip.AddrPort, username, password string) (Allocation, error) {
	return hold(ctx, addr, username, password, func(*session) error { return nil })
}

// hold runs use while an allocation stands.
func hold(ctx context.Context, addr netip.AddrPort, username, password string, use func(*session) error) (Allocation, error) {
	for socket := 1; ; socket++ {
		a, err := holdOnce(ctx, addr, username, password, use)
		stale := code(err) == int(stun.CodeAllocMismatch) || code(err) == int(stun.CodeStaleNonce)
		if !stale || socket == maxSockets {
			return a, err
		}
	}
}

func holdOnce(ctx context.Context, addr netip.AddrPort, username, password string, use func(*session) error) (Allocation, error) {
	s, err := dial(addr, StageUnauthorized)
	if err != nil {
		return Allocation{}, err
	}
	defer s.close()
	realm, nonce, err := s.challenge(ctx)
	if err != nil {
		return Allocation{}, err
	}
	s.key = stun.NewLongTermIntegrity(username, realm.String(), password)
	s.auth = []stun.Setter{stun.NewUsername(username), realm, nonce, s.key}

	begin := time.Now()
	answer, err := s.allocate(ctx, StageAllocate)
	if err != nil {
		if errors.Is(err, ErrNoAnswer) {
			// The answer may have been lost, or the server may be hung with the
			// request in its socket: what it allocates when it wakes, this gives back.
			ended, cancel := context.WithCancel(ctx)
			cancel()
			_ = s.release(ended)
		}
		return Allocation{}, err
	}
	a := Allocation{RTT: time.Since(begin)}
	if a.Relayed, err = s.relayed(answer); err == nil {
		err = use(s)
	}
	if released := s.release(ctx); err == nil {
		err = released
	}
	return a, err
}

// challenge asks for an allocation as a stranger and returns what the 401
// carries, which an authenticated request has to repeat.
func (s *session) challenge(ctx context.Context) (realm stun.Realm, nonce stun.Nonce, err error) {
	answer, err := s.allocate(ctx, StageUnauthorized)
	switch {
	case err == nil:
		_ = s.release(ctx)
		fallthrough
	case errors.Is(err, ErrFull):
		// RFC 8656 7.2 checks the credential first, so that a stranger who hears of
		// a quota or of ports has not been asked for one.
		return nil, nil, &Error{Stage: StageUnauthorized, Code: code(err), Err: fmt.Errorf("%w by %s", ErrOpenRelay, s.addr)}
	case code(err) != int(stun.CodeUnauthorized):
		return nil, nil, err
	}
	if err := answer.Parse(&realm, &nonce); err != nil {
		return nil, nil, &Error{Stage: StageUnauthorized, Code: int(stun.CodeUnauthorized), Err: fmt.Errorf("read realm and nonce from %s: %w", s.addr, err)}
	}
	return realm, nonce, nil
}

func (s *session) allocate(ctx context.Context, stage string) (*stun.Message, error) {
	attrs := []stun.Setter{stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}}} // UDP
	if s.addr.Addr().Is6() && !s.addr.Addr().Is4In6() {
		// Without it a server relays over IPv4 (RFC 8656 7.1), which one that
		// listens on IPv6 alone refuses with 440.
		attrs = append(attrs, stun.RawAttribute{Type: stun.AttrRequestedAddressFamily, Value: []byte{2, 0, 0, 0}})
	}
	return s.request(ctx, stage, stun.MethodAllocate, attrs...)
}

// release gives the allocation back.
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
