package coturn_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/turnwarden/turnwarden/service/coturn"
)

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
