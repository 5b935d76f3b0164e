package coturn_test

import (
	"strings"
	"testing"

	"github.com/turnwarden/turnwarden/service/coturn"
)

func TestChanged(t *testing.T) {
	const base = userConf + "listening-ip=192.0.2.1\nlistening-ip=192.0.2.2\nno-cli\n"
	for name, c := range map[string]struct{ now, want string }{
		"nothing":                  {base, ""},
		"comments and blanks":      {"# hello\n\n" + strings.ReplaceAll(base, "no-cli", "  no-cli "), ""},
		"what is left out":         {base + "syslog\n", ""},
		"the order of options":     {userConf + "no-cli\nlistening-ip=192.0.2.1\nlistening-ip=192.0.2.2\n", ""},
		"how a value is written":   {strings.Replace(base, "listening-ip=192.0.2.1", "listening-ip = 192.0.2.1", 1), ""},
		"the order of one option":  {userConf + "no-cli\nlistening-ip=192.0.2.2\nlistening-ip=192.0.2.1\n", "listening-ip"},
		"one more, one less":       {userConf + "listening-ip=192.0.2.1\ntotal-quota=5\nno-cli\n", "listening-ip total-quota"},
		"a value, and an option":   {base + "total-quota=5\nmax-bps=9\n", "total-quota max-bps"},
		"a secret is named by key": {base + "cli-password=hidden\npkey-pwd=hidden\n", "pkey-pwd"},
	} {
		got := strings.Join(readConf(t, base, coturn.ModeUser).Changed(readConf(t, c.now, coturn.ModeUser)), " ")
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
