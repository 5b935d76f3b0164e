package coturn

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// FuzzConf holds the reader and the renderer to each other: whatever is
// accepted is rendered without loss, and coturn would read our lines last.
func FuzzConf(f *testing.F) {
	f.Add("lt-cred-mech\nrealm=r\n", false)
	f.Add("use-auth-secret\r\nrealm = \"a b\" \n\tmin-port 5\nmax-port=6", true)
	f.Add("lt-cred-mech=1\nrealm=r;\ndb=/x\nsyslog\nexternal-ip=::1/127.0.0.1\nno-tlsv1", false)
	f.Add("user=x\n=\n \"\n#\x00\n\xff=\xff", false)
	f.Fuzz(func(t *testing.T, text string, secret bool) {
		mode := ModeUser
		if secret {
			mode = ModeSecret
		}
		c, err := parseConf("/etc/x.conf", text, mode)
		if err != nil {
			for problem := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.HasPrefix(problem, "/etc/x.conf:") {
					t.Fatalf("%q does not say where", problem)
				}
			}
			return
		}
		for _, version := range []Version{{4, 6, 1}, {4, 17, 1}} {
			r := Runtime{Version: version, CLI: true, CLIPort: 5766, CLIPassword: "p"}
			rendered := string(c.Render(r))
			for l := range strings.SplitSeq(rendered, "\n") {
				if len(l) > 1023 {
					t.Fatalf("coturn would cut %q", l)
				}
			}
			again, err := parseConf("/etc/x.conf", rendered, mode)
			if err != nil {
				t.Fatalf("rendered %q: %v", rendered, err)
			}
			same := func(a, b confLine) bool { return a.name == b.name && a.value == b.value }
			if len(again.lines) < len(c.lines) || !slices.EqualFunc(again.lines[:len(c.lines)], c.lines, same) {
				t.Fatalf("rendered %q, want it to begin with %v", rendered, c.lines)
			}
			if diff := cmp.Diff(c, again, cmpopts.IgnoreUnexported(Conf{}), cmpopts.EquateComparable(netip.Addr{}),
				cmpopts.IgnoreFields(Conf{}, "Warnings", "ProcUser", "ProcGroup")); diff != "" {
				t.Fatalf("rendered %q (-read +read again):\n%s", rendered, diff)
			}
		}
	})
}
