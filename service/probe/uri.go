package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"time"

	"github.com/pion/stun/v4"
)

// URI names a server as clients are told of it: RFC 7064 and RFC 7065.
type URI struct {
	Host      string
	Port      uint16
	Transport Transport
	STUN      bool // it promises no TURN
}

// hostname is what a resolver may be asked for.
var hostname = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?$`)

// ParseURI reads turn:HOST, turns:HOST, stun:HOST or stuns:HOST, with a port and, for
// TURN, a transport.
func ParseURI(s string) (URI, error) {
	wrong := func(why string) (URI, error) {
		return URI{}, fmt.Errorf("found %q (%s); accepted: turn:HOST:PORT?transport=udp, transport=tcp, turns:HOST:PORT, stun:HOST:PORT, stuns:HOST:PORT, an IPv6 address in brackets", s, why)
	}
	u, err := stun.ParseURI(s)
	if err != nil {
		return wrong(err.Error())
	}
	_, notIP := netip.ParseAddr(u.Host)
	switch {
	case u.Port < 1 || u.Port > 65535:
		return wrong("port " + strconv.Itoa(u.Port))
	case notIP != nil && !hostname.MatchString(u.Host):
		return wrong("host " + strconv.Quote(u.Host))
	}
	uri := URI{Host: u.Host, Port: uint16(u.Port), Transport: TCP, STUN: u.Scheme == stun.SchemeTypeSTUN || u.Scheme == stun.SchemeTypeSTUNS}
	switch {
	case u.Scheme == stun.SchemeTypeTURNS && u.Proto == stun.ProtoTypeUDP:
		return wrong("DTLS is not probed")
	case u.IsSecure():
		uri.Transport = TLS
	case u.Proto == stun.ProtoTypeUDP:
		uri.Transport = UDP
	}
	return uri, nil
}

// Ask looks the host up, takes the address that its clients try first, and puts the
// question to the listener there.
func (u URI) Ask(ctx context.Context, q Question) (Listener, Report) {
	begin := time.Now()
	addr, err := u.resolve(ctx, q.Timeout)
	found := Step{StageResolve, time.Since(begin), err}
	if err != nil {
		return Listener{}, Report{Steps: []Step{found}}
	}
	q.Listener = Listener{Transport: u.Transport, Addr: addr, Host: u.Host}
	q.NoTURN = q.NoTURN || u.STUN
	r := q.Ask(ctx)
	r.Steps = append([]Step{found}, r.Steps...)
	return q.Listener, r
}

func (u URI) resolve(ctx context.Context, timeout time.Duration) (netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Host)
	if err == nil && len(addrs) == 0 {
		err = errors.New("it has no address")
	}
	if err != nil {
		return netip.AddrPort{}, &Error{Stage: StageResolve, Err: err}
	}
	return netip.AddrPortFrom(addrs[0].Unmap(), u.Port), nil
}
