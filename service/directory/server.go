package directory

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// hostname is what DNS and /etc/hosts allow, underscores included as Docker's names have them.
// The last label is no number, or it would be a mistyped IPv4 address.
var hostname = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?\.)*[A-Za-z0-9_-]*[A-Za-z_][A-Za-z0-9_-]*\.?$`)

// ParseServer checks one server of `registry.zookeeper` and adds the default port.
// The client library accepts anything here and then dials it for ever.
func ParseServer(s string) (string, error) {
	bad := func(why string) (string, error) {
		return "", fmt.Errorf("%q is not a ZooKeeper server: %s (accepted: host, host:port, [IPv6]:port; the default port is 2181)", s, why)
	}
	host, port := s, "2181"
	switch a, err := netip.ParseAddr(s); {
	case s == "":
		return bad("it is empty")
	case strings.Contains(s, "://"):
		return bad("leave the scheme out")
	case strings.Contains(s, "/"):
		return bad("put the path in registry.path")
	case strings.Contains(s, ","):
		return bad("write a list of servers, one entry each")
	case err == nil && a.Is6():
		return bad("an IPv6 address needs brackets, [" + s + "]")
	case strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]"):
		host = s[1 : len(s)-1]
	case strings.Contains(s, ":"):
		if host, port, err = net.SplitHostPort(s); err != nil {
			return bad("it has more than one colon or an open bracket")
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return bad("the port must be a number from 1 to 65535")
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if strings.HasPrefix(s, "[") != a.Is6() {
			return bad("brackets are for IPv6 addresses")
		}
	} else if strings.HasPrefix(s, "[") || len(host) > 253 || !hostname.MatchString(host) {
		return bad("the host is neither a name nor an address")
	}
	return net.JoinHostPort(host, port), nil
}
