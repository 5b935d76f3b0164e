package traffic_test

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/traffic"
)

func addrs(list ...string) []netip.Addr {
	var parsed []netip.Addr
	for _, s := range list {
		parsed = append(parsed, netip.MustParseAddr(s))
	}
	return parsed
}

func TestSelect(t *testing.T) {
	host := traffic.Host{
		Interfaces: []traffic.Interface{
			{Name: "lo", Addrs: addrs("127.0.0.1", "::1")},
			{Name: "eth0", Addrs: addrs("10.0.0.5", "2001:db8::5")},
			{Name: "eth1", Addrs: addrs("10.1.0.5")},
			{Name: "eth2"},
		},
		DefaultSource: netip.MustParseAddr("10.0.0.5"),
	}
	cut := traffic.Host{Interfaces: host.Interfaces}
	for name, test := range map[string]struct {
		host             traffic.Host
		names            []string
		relay, listening []netip.Addr
		want             []string
		err              string
	}{
		"nothing configured":            {host: host, want: []string{"eth0"}},
		"auto":                          {host: host, names: []string{"auto"}, want: []string{"eth0"}},
		"relay-ip":                      {host: host, relay: addrs("10.1.0.5"), want: []string{"eth1"}},
		"relay-ip before listening-ip":  {host: host, relay: addrs("10.1.0.5"), listening: addrs("10.0.0.5"), want: []string{"eth1"}},
		"listening-ip":                  {host: host, listening: addrs("10.1.0.5"), want: []string{"eth1"}},
		"relay-ip on two":               {host: host, relay: addrs("10.1.0.5", "2001:db8::5"), want: []string{"eth0", "eth1"}},
		"two relay-ips on one":          {host: host, relay: addrs("10.0.0.5", "2001:db8::5"), want: []string{"eth0"}},
		"listening-ip is a wildcard":    {host: host, listening: addrs("0.0.0.0", "::"), want: []string{"eth0"}},
		"relay-ip is not here":          {host: host, relay: addrs("192.0.2.77"), listening: addrs("10.1.0.5"), want: []string{"eth1"}},
		"listening-ip elsewhere in 127": {host: host, listening: addrs("127.3.2.1"), want: []string{"lo"}},
		"IPv4 written as IPv6":          {host: host, relay: addrs("::ffff:10.1.0.5"), want: []string{"eth1"}},
		"named":                         {host: host, names: []string{"eth2"}, relay: addrs("10.1.0.5"), want: []string{"eth2"}},
		"a list, one named twice":       {host: host, names: []string{"eth1", "eth0", "eth1"}, want: []string{"eth1", "eth0"}},
		"unknown":                       {host: host, names: []string{"eth0", "eth7"}, err: `no network interface "eth7"; this host has eth0, eth1, eth2, lo: `},
		"auto in a list":                {host: host, names: []string{"auto", "eth0"}, err: `no network interface "auto"`},
		"no default route":              {host: cut, err: "no default route; this host has eth0, eth1, eth2, lo: name one"},
		"named without default route":   {host: cut, names: []string{"eth1"}, want: []string{"eth1"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.host.Select(test.names, test.relay, test.listening)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("got error %v, want %q", err, test.err)
			}
		})
	}
}

func TestReadHost(t *testing.T) {
	host, err := traffic.ReadHost()
	if err != nil {
		t.Fatal(err)
	}
	got, err := host.Select(nil, nil, addrs("127.0.0.1"))
	if err != nil || !slices.Equal(got, []string{"lo"}) {
		t.Errorf("127.0.0.1 is owned by %v (%v), want lo", got, err)
	}
}

func TestDefaultSourceIsOurs(t *testing.T) {
	addr, err := traffic.DefaultSource()
	if err != nil {
		realtest.Missing(t, err.Error())
	}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
	if err != nil {
		t.Fatalf("%v is not an address of this host: %v", addr, err)
	}
	_ = conn.Close()
	if addr.IsLoopback() || addr.IsUnspecified() {
		t.Errorf("%v cannot be reached from another host", addr)
	}
}
