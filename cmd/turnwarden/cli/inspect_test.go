package cli

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/host"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestTLSName: a turns: URI has the advertised name where the certificate has it, and
// doctor names what clients would refuse.
func TestTLSName(t *testing.T) {
	t.Parallel()
	conf := &coturn.Conf{TLS: true, ListeningIPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, TLSListeningPort: 5349}
	conf.Cert, conf.Key = realtest.Certificate(t, "turn1.example.org", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	for advertise, want := range map[string]struct {
		uri    string
		notFor []string
	}{
		"":                        {"turns:192.0.2.1:5349?transport=tcp", []string{"192.0.2.1"}},
		"192.0.2.1:13478":         {"turns:192.0.2.1:5349?transport=tcp", []string{"192.0.2.1"}},
		"turn1.example.org":       {"turns:turn1.example.org:5349?transport=tcp", nil},
		"turn1.example.org:13478": {"turns:turn1.example.org:5349?transport=tcp", nil},
		"turn2.example.org:13478": {"turns:192.0.2.1:5349?transport=tcp", []string{"192.0.2.1"}},
	} {
		uris := conf.URIs(netip.Addr{}, host.TLSName(conf, advertise))
		if !slices.Equal(uris, []string{want.uri}) {
			t.Errorf("advertise %q: %q, want %s", advertise, uris, want.uri)
		}
		if c := certificate(conf, uris); c.Err != "" || !slices.Equal(c.NotFor, want.notFor) {
			t.Errorf("advertise %q: %+v, want not for %q", advertise, c, want.notFor)
		}
	}
	if name := host.TLSName(&coturn.Conf{}, "turn1.example.org"); name != "" {
		t.Errorf("%q without a certificate", name)
	}
}
