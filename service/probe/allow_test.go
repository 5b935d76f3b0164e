package probe_test

import (
	"testing"

	"github.com/turnwarden/turnwarden/service/probe"
)

func TestAllow(t *testing.T) {
	for entry, c := range map[string]struct{ covered, not []string }{
		"turn.example.org":     {[]string{"turn:turn.example.org", "turns:TURN.example.org.:443", "stun:turn.example.org:1"}, []string{"turn:example.org", "turn:a.turn.example.org"}},
		"Turn.Example.org.:53": {[]string{"turn:turn.example.org:53"}, []string{"turn:turn.example.org"}},
		"192.0.2.1":            {[]string{"turn:192.0.2.1:9", "turn:[::ffff:192.0.2.1]"}, []string{"turn:192.0.2.10"}},
		"192.0.2.1:3478":       {[]string{"turn:192.0.2.1"}, []string{"turns:192.0.2.1"}},
		"2001:db8::1":          {[]string{"turn:[2001:db8:0::1]:9"}, []string{"turn:[2001:db8::2]"}},
		"[2001:DB8::1]":        {[]string{"turn:[2001:db8::1]:9"}, nil},
		"[2001:db8::1]:7":      {[]string{"turn:[2001:db8::1]:7"}, []string{"turn:[2001:db8::1]"}},
	} {
		allow, err := probe.ParseAllow(entry)
		if err != nil {
			t.Errorf("%s: %v", entry, err)
			continue
		}
		for want, uris := range map[bool][]string{true: c.covered, false: c.not} {
			for _, text := range uris {
				u, err := probe.ParseURI(text)
				if got := allow.Covers(u); err != nil || got != want {
					t.Errorf("%s covers %s: %t, %v", entry, text, got, err)
				}
			}
		}
	}
	for _, entry := range []string{"", "a b", "a:0", "a:x", "a:65536", "turn:a", "*", ":1", "a,b", "a/b"} {
		if _, err := probe.ParseAllow(entry); err == nil {
			t.Errorf("%q is accepted", entry)
		}
	}
}
