package coturn_test

import (
	"net/netip"
	"strings"
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

func TestCheckAdvertised(t *testing.T) {
	tests := map[string]struct {
		text, relayed string
		want          string // in the error; empty = none
	}{
		"nothing configured":         {"", "10.0.0.5", ""},
		"own address":                {"relay-ip=10.0.0.5", "10.0.0.5", ""},
		"first of two":               {"relay-ip=10.0.0.5\nrelay-ip=10.0.0.6", "10.0.0.6", ""},
		"listening address":          {"listening-ip=10.0.0.5", "10.0.0.5", ""},
		"every address":              {"listening-ip=0.0.0.0", "10.0.0.5", ""},
		"another's":                  {"listening-ip=10.0.0.6\nrelay-ip=10.0.0.5", "10.0.0.6", "none of this host's [10.0.0.5]"},
		"external":                   {"relay-ip=10.0.0.5\nexternal-ip=198.51.100.7", "198.51.100.7", ""},
		"external pair":              {"relay-ip=10.0.0.5\nexternal-ip=198.51.100.7/10.0.0.5", "198.51.100.7", ""},
		"external of another":        {"relay-ip=10.0.0.6\nexternal-ip=198.51.100.7/10.0.0.5", "10.0.0.6", "external-ip says [198.51.100.7]: write external-ip=PUBLIC/10.0.0.6"},
		"external, loopback":         {"relay-ip=127.0.0.6\nexternal-ip=198.51.100.7/10.0.0.5", "127.0.0.6", "external-ip says"},
		"external, unknown relay":    {"external-ip=198.51.100.7/10.0.0.5", "10.0.0.6", "external-ip says"},
		"another external":           {"relay-ip=10.0.0.5\nexternal-ip=198.51.100.7", "198.51.100.8", "none of this host's [10.0.0.5] nor an external-ip"},
		"one mapped, one public":     {"relay-ip=10.0.0.5\nrelay-ip=192.0.2.1\nexternal-ip=198.51.100.7/10.0.0.5", "192.0.2.1", ""},
		"external of another family": {"relay-ip=10.0.0.5\nexternal-ip=2001:db8::7", "10.0.0.5", ""},
		"both families":              {"relay-ip=10.0.0.5\nrelay-ip=fd00::5\nexternal-ip=198.51.100.7\nexternal-ip=2001:db8::7", "2001:db8::7", ""},
		"unique local":               {"relay-ip=fd00::5\nexternal-ip=2001:db8::7/fd00::6", "fd00::5", "external-ip says [2001:db8::7]: write external-ip=PUBLIC/fd00::5"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := readConf(t, userConf+tt.text, coturn.ModeUser).CheckAdvertised(netip.MustParseAddr(tt.relayed))
			if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
