package coturn_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/turnwarden/turnwarden/service/coturn"
)

func TestURIsWithAName(t *testing.T) {
	c := readConf(t, userConf+"listening-ip=192.0.2.1\nlistening-ip=2001:db8::1\nno-tcp\ncert=/c\npkey=/k", coturn.ModeUser)
	want := []string{"turn:192.0.2.1:3478?transport=udp", "turns:turn1.example.org:5349?transport=tcp", "turn:[2001:db8::1]:3478?transport=udp"}
	if diff := cmp.Diff(want, c.URIs(netip.Addr{}, "turn1.example.org")); diff != "" {
		t.Error(diff)
	}
}

func TestURIs(t *testing.T) {
	tests := map[string]struct {
		text string
		want []string
	}{
		"fallback": {"", []string{"turn:10.0.0.5:3478?transport=udp", "turn:10.0.0.5:3478?transport=tcp"}},
		"wildcard, port": {
			"listening-ip=0.0.0.0\nlistening-ip=::\nlistening-port=3479\nno-udp",
			[]string{"turn:10.0.0.5:3479?transport=tcp"},
		},
		"both families, TLS": {
			"listening-ip=192.0.2.1\nlistening-ip=2001:db8::1\nno-tcp\ncert=/c\npkey=/k",
			[]string{
				"turn:192.0.2.1:3478?transport=udp", "turns:192.0.2.1:5349?transport=tcp",
				"turn:[2001:db8::1]:3478?transport=udp", "turns:[2001:db8::1]:5349?transport=tcp",
			},
		},
		"certificate without key": {"listening-ip=192.0.2.1\nno-tcp\ncert=/c", []string{"turn:192.0.2.1:3478?transport=udp"}},
		"TLS off":                 {"listening-ip=192.0.2.1\nno-tcp\ncert=/c\npkey=/k\nno-tls", []string{"turn:192.0.2.1:3478?transport=udp"}},
		"external, own family only": {
			"listening-ip=10.0.0.1\nlistening-ip=2001:db8::1\nexternal-ip=198.51.100.1\nno-tcp",
			[]string{"turn:198.51.100.1:3478?transport=udp", "turn:[2001:db8::1]:3478?transport=udp"},
		},
		"external pairs": {
			"listening-ip=10.0.0.1\nlistening-ip=10.0.0.2\nlistening-ip=10.0.0.3\nexternal-ip=198.51.100.2/10.0.0.2\nexternal-ip=198.51.100.1/10.0.0.1\nno-tcp",
			[]string{"turn:198.51.100.1:3478?transport=udp", "turn:198.51.100.2:3478?transport=udp", "turn:10.0.0.3:3478?transport=udp"},
		},
		"one external for two": {
			"listening-ip=10.0.0.1\nlistening-ip=10.0.0.2\nexternal-ip=198.51.100.1\nno-tcp",
			[]string{"turn:198.51.100.1:3478?transport=udp"},
		},
		"external fallback": {"external-ip=198.51.100.1/10.0.0.5\nno-tcp", []string{"turn:198.51.100.1:3478?transport=udp"}},
		"nothing on":        {"no-udp\nno-tcp", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := readConf(t, userConf+tt.text, coturn.ModeUser)
			if diff := cmp.Diff(tt.want, c.URIs(netip.MustParseAddr("10.0.0.5"), "")); diff != "" {
				t.Errorf("URIs (-want +got):\n%s", diff)
			}
		})
	}
}
