package probe

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Allow names servers that may be asked on behalf of whoever comes: one port of a
// host, or all of them.
type Allow struct {
	host string
	port uint16 // 0 = every port
}

// ParseAllow reads HOST or HOST:PORT.
func ParseAllow(s string) (Allow, error) {
	if ip, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return Allow{host: ip.String()}, nil
	}
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		host, text = s, ""
	}
	port, err := strconv.ParseUint(text, 10, 16)
	ip, notIP := netip.ParseAddr(host)
	switch {
	case text != "" && (err != nil || port == 0):
		return Allow{}, fmt.Errorf("port %q", text)
	case notIP == nil:
		host = ip.String()
	case !hostname.MatchString(host):
		return Allow{}, fmt.Errorf("host %q", host)
	}
	return Allow{canonical(host), uint16(port)}, nil
}

// Covers says whether the server may be asked.
func (a Allow) Covers(u URI) bool {
	return canonical(u.Host) == a.host && (a.port == 0 || a.port == u.Port)
}

// canonical is the one spelling of a host that stands for all others.
func canonical(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
