package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
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

// maxURI is the longest URI that names a server: the longest host with all that may
// stand around it. Whatever is longer is refused unread.
const maxURI = len("turns:") + 253 + len(":65535?transport=tcp")

// schemes are those of RFC 7064 and RFC 7065, with what follows where no port and no
// transport are named.
var schemes = map[string]URI{
	"stun":  {Port: 3478, Transport: UDP, STUN: true},
	"stuns": {Port: 5349, Transport: TLS, STUN: true},
	"turn":  {Port: 3478, Transport: UDP},
	"turns": {Port: 5349, Transport: TLS},
}

// ParseURI reads turn:HOST, turns:HOST, stun:HOST or stuns:HOST, with a port and, for
// TURN, a transport. Strangers send it text: it goes through the text once. pion/stun's
// parser calls itself for ever where anything but a colon follows a bracket (v4.0.1).
func ParseURI(s string) (URI, error) {
	wrong := func(why string) (URI, error) {
		return URI{}, fmt.Errorf("found %q (%s); accepted: turn:HOST:PORT?transport=udp, transport=tcp, turns:HOST:PORT, "+
			"stun:HOST:PORT, stuns:HOST:PORT, an IPv6 address in brackets", s[:min(len(s), maxURI)], why)
	}
	if len(s) > maxURI {
		return wrong(fmt.Sprintf("%d bytes, %d are accepted", len(s), maxURI))
	}
	scheme, rest, _ := strings.Cut(s, ":")
	uri, known := schemes[strings.ToLower(scheme)]
	if !known {
		return wrong("scheme " + strconv.Quote(scheme))
	}
	rest, query, asks := strings.Cut(rest, "?")
	switch transport := strings.ToLower(query); {
	case !asks:
	case uri.STUN:
		return wrong("STUN has no transport to choose")
	case transport == "transport=udp" && uri.Transport == TLS:
		return wrong("DTLS is not probed")
	case transport == "transport=tcp" && uri.Transport == UDP:
		uri.Transport = TCP
	case transport != "transport=udp" && transport != "transport=tcp":
		return wrong("transport " + strconv.Quote(query))
	}
	host, port, ok := cutHost(rest)
	if !ok {
		return wrong("host " + strconv.Quote(rest))
	}
	uri.Host = host
	if port == "" {
		return uri, nil
	}
	n, err := strconv.ParseUint(port[1:], 10, 16)
	if err != nil || n == 0 || len(port) > len(":65535") {
		return wrong("port " + strconv.Quote(port[1:]))
	}
	uri.Port = uint16(n)
	return uri, nil
}

// cutHost takes the host off what follows a scheme: a name, an IPv4 address, or an IPv6
// address in brackets, which it takes away. What is left is empty or begins with a colon.
func cutHost(s string) (host, port string, ok bool) {
	if strings.HasPrefix(s, "[") {
		host, port, ok = strings.Cut(s[1:], "]")
		ip, err := netip.ParseAddr(host)
		return host, port, ok && err == nil && ip.Is6() && ip.Zone() == "" && (port == "" || port[0] == ':')
	}
	i := strings.IndexByte(s, ':')
	if i < 0 {
		i = len(s)
	}
	return s[:i], s[i:], hostname.MatchString(s[:i])
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
