package probe

import (
	"context"
	"net/netip"
)

// One stage over UDP, where ctx alone bounds the wait.

// Binding asks for a STUN Binding.
func Binding(ctx context.Context, addr netip.AddrPort) error {
	return Question{Listener: Listener{Transport: UDP, Addr: addr}, NoTURN: true}.Ask(ctx).Err()
}

// Anonymous asks for an allocation without a credential and returns nil when the
// server refuses with 401, as it must. ErrOpenRelay is certain.
func Anonymous(ctx context.Context, addr netip.AddrPort) error {
	return Question{Listener: Listener{Transport: UDP, Addr: addr}, NoSTUN: true}.Ask(ctx).Err()
}

// Allocate proves that a credential works.
func Allocate(ctx context.Context, addr netip.AddrPort, username, password string) (Allocation, error) {
	return Listener{Transport: UDP, Addr: addr}.Allocate(ctx, username, password)
}

// Relay sends n bytes through an allocation to a peer on loopback and back.
func Relay(ctx context.Context, addr netip.AddrPort, username, password string, n int) error {
	q := Question{Listener: Listener{Transport: UDP, Addr: addr}, NoSTUN: true, Username: username, Password: password, Echo: n}
	return q.Ask(ctx).Err()
}
