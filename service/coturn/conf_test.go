package coturn_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// writeConf writes a turnserver.conf and returns its path.
func writeConf(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "turnserver.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// readConf reads a file that must be accepted.
func readConf(t *testing.T, text string, mode coturn.Mode) *coturn.Conf {
	t.Helper()
	c, err := coturn.ReadConf(writeConf(t, text), mode)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const userConf = "lt-cred-mech\nrealm=r\n"

func TestReadConf(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10")
	tests := map[string]struct {
		text string
		mode coturn.Mode
		want coturn.Conf
	}{
		"defaults": {
			text: userConf,
			want: coturn.Conf{
				Realm: "r", UserDB: "/var/lib/turn/turndb", LtCredMech: true, UDP: true, TCP: true,
				ListeningPort: 3478, TLSListeningPort: 5349, MinPort: 49152, MaxPort: 65535,
			},
		},
		"last line counts": {
			text: "realm=a\nrealm=b\nlt-cred-mech\ndb=/a\nuserdb=/b\ndb=/c\nno-udp\nno-udp=0\nno-tcp=0\nno-tcp\n",
			want: coturn.Conf{
				Realm: "b", UserDB: "/c", LtCredMech: true, UDP: true,
				ListeningPort: 3478, TLSListeningPort: 5349, MinPort: 49152, MaxPort: 65535,
			},
		},
		"secret beside users, Windows line ends": {
			mode: coturn.ModeSecret,
			text: "use-auth-secret\r\nlt-cred-mech\r\nrealm\t=  \"my realm\" \r\nallow-loopback-peers\r\nexternal-ip=192.0.2.10\r\n",
			want: coturn.Conf{
				Realm: "my realm", UserDB: "/var/lib/turn/turndb", LtCredMech: true, UseAuthSecret: true, UDP: true, TCP: true,
				ListeningPort: 3478, TLSListeningPort: 5349, MinPort: 49152, MaxPort: 65535,
				AllowLoopbackPeers: true, ExternalIPs: []coturn.ExternalIP{{Public: v4}},
			},
		},
		"everything": {
			text: string(readTestFile(t, "testdata/conf/full.conf")),
			want: coturn.Conf{
				Realm: "turn.example.org", UserDB: "/srv/turn/users.db", LtCredMech: true,
				UDP: true, TCP: true, TLS: true, DTLS: true, Cert: "/etc/turn/cert.pem", Key: "/etc/turn/key.pem",
				ListeningIPs: []netip.Addr{v4, v6}, RelayIPs: []netip.Addr{v4},
				ExternalIPs:   []coturn.ExternalIP{{Public: netip.MustParseAddr("198.51.100.7"), Private: v4}},
				ListeningPort: 3479, TLSListeningPort: 5350, MinPort: 50000, MaxPort: 50999,
				ProcUser: "turnserver", ProcGroup: "turnserver", TotalQuota: 1200,
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.mode == "" {
				tt.mode = coturn.ModeUser
			}
			got := readConf(t, tt.text, tt.mode)
			if diff := cmp.Diff(&tt.want, got, cmpopts.EquateComparable(netip.Addr{}),
				cmpopts.IgnoreUnexported(coturn.Conf{}), cmpopts.IgnoreFields(coturn.Conf{}, "Path", "Warnings")); diff != "" {
				t.Errorf("read (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadConfWarns(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"own log":     {"syslog", ":1: syslog: left out: "},
		"own process": {"pidfile=/run/x", ":1: pidfile: left out: "},
		"own user":    {"proc-user=turnserver", ":1: proc-user: left out: turnwarden starts the child as coturn.user"},
		"own CLI":     {"cli-password=hunter2", ":1: cli-password: left out: "},
		"too verbose": {"Verbose", ":1: Verbose: left out: "},
		"drain early": {"drain-min-allocations=5", ":1: drain-min-allocations: left out: turnwarden drains until the last call"},
		"flag off":    {"no-rfc5780=no", ":1: no-rfc5780: coturn ignores the value"},
		"semicolon":   {"total-quota=5\nserver-name=turn.example.org;", ":2: server-name: the semicolon"},
		"statsdb":     {"redis-statsdb=password=hunter2", ":1: redis-statsdb: coturn logs this line"},
		"relative":    {"cert=cert.pem", `:1: cert: "cert.pem" is not an absolute path`},
		"mutual TLS":  {"CA-file=/ca.pem", ":1: CA-file: coturn asks each TLS client for a certificate"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := readConf(t, tt.text+"\n"+userConf, coturn.ModeUser)
			if len(c.Warnings) != 1 || !strings.HasPrefix(c.Warnings[0], c.Path+tt.want) {
				t.Errorf("got %q, want one beginning %q", c.Warnings, c.Path+tt.want)
			}
			if strings.Contains(c.Warnings[0], "hunter2") {
				t.Errorf("%q holds the password", c.Warnings[0])
			}
		})
	}
}

func TestReadConfNeedsAFile(t *testing.T) {
	dir := t.TempDir()
	file := writeConf(t, userConf)
	tests := map[string]struct{ path, want string }{
		"missing":         {filepath.Join(dir, "none"), "no such file"},
		"directory":       {dir, "not a regular file"},
		"device":          {"/dev/zero", "not a regular file"},
		"under something": {filepath.Join(file, "x"), "(not a directory)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := coturn.ReadConf(tt.path, coturn.ModeUser)
			if err == nil || !strings.HasPrefix(err.Error(), tt.path+": ") || !strings.Contains(err.Error(), tt.want) ||
				strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, tt.want)
			}
		})
	}
}

// Debian's own file logs to syslog and names neither realm nor users.
func TestReadConfOfDebian(t *testing.T) {
	realtest.Require(t, "/etc/turnserver.conf")
	const path = "/etc/turnserver.conf"
	if _, err := coturn.ReadConf(path, coturn.ModeUser); err == nil ||
		strings.Count(err.Error(), "\n") != 1 || !strings.Contains(err.Error(), path+": realm: ") || !strings.Contains(err.Error(), path+": lt-cred-mech: ") {
		t.Errorf("as installed: got %v, want realm and lt-cred-mech missing", err)
	}
	readConf(t, string(readTestFile(t, path))+userConf, coturn.ModeUser)
}

func readTestFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
