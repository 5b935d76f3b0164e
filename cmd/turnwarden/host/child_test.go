package host

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestListeners: without listening-ip, what the server has really bound is probed.
// This process stands for it.
func TestListeners(t *testing.T) {
	t.Parallel()
	ip := realtest.Loopback(t)
	plain, secure := realtest.FreePort(t, ip), realtest.FreePort(t, ip)
	for _, port := range []int{plain, secure} {
		l, err := net.Listen("tcp", net.JoinHostPort(ip, fmt.Sprint(port)))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	tcp, tls := netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(plain)), netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(secure))
	closed := netip.AddrPortFrom(netip.Addr{}, uint16(plain))
	for name, c := range map[string]struct {
		conf coturn.Conf
		want []probe.Listener
	}{
		"every transport": {
			coturn.Conf{UDP: true, TCP: true, TLS: true},
			[]probe.Listener{{Transport: probe.UDP, Addr: closed}, {Transport: probe.TCP, Addr: tcp}, {Transport: probe.TLS, Addr: tls}},
		},
		"named": {
			coturn.Conf{UDP: true, ListeningIPs: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}},
			[]probe.Listener{{Transport: probe.UDP, Addr: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(plain))}},
		},
		"TLS for those with a certificate": {coturn.Conf{TCP: true, TLS: true, ClientCertificates: true}, []probe.Listener{{Transport: probe.TCP, Addr: tcp}}},
	} {
		c.conf.ListeningPort, c.conf.TLSListeningPort = plain, secure
		got := (&Host{server: server{Conf: &c.conf}}).listeners(os.Getpid())
		if diff := cmp.Diff(c.want, got, cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.IgnoreFields(probe.Listener{}, "Asked"), cmpopts.IgnoreUnexported(probe.Listener{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
