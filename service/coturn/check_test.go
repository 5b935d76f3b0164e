package coturn_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/turnwarden/turnwarden/service/coturn"
)

func TestReadConfRefuses(t *testing.T) {
	tests := map[string]struct {
		mode coturn.Mode
		text string
		want []string // the beginning of each line of the error, after the path
	}{
		"empty":                   {text: "", want: []string{": lt-cred-mech: neither", ": realm: no realm"}},
		"empty, mode secret":      {mode: coturn.ModeSecret, text: "realm=r", want: []string{": use-auth-secret: neither"}},
		"no realm":                {text: "lt-cred-mech\nrealm=", want: []string{":2: realm: no realm"}},
		"quote in realm":          {text: "lt-cred-mech\nrealm=a'b", want: []string{":2: realm: "}},
		"backslash in realm":      {text: `lt-cred-mech` + "\n" + `realm=a\b`, want: []string{":2: realm: "}},
		"long realm":              {text: "lt-cred-mech\nrealm=" + strings.Repeat("r", 128), want: []string{":2: realm: 128 bytes"}},
		"secret in mode user":     {text: "use-auth-secret\nlt-cred-mech\nrealm=r", want: []string{":1: use-auth-secret: found, but"}},
		"secret=no is still on":   {text: "use-auth-secret=no\nlt-cred-mech\nrealm=r", want: []string{":1: use-auth-secret: found, but"}},
		"users in mode secret":    {mode: coturn.ModeSecret, text: userConf, want: []string{":1: lt-cred-mech: found without"}},
		"lt-cred-mech off":        {mode: coturn.ModeSecret, text: "use-auth-secret\nrealm=r\nlt-cred-mech=no", want: []string{`:3: lt-cred-mech: "no" found; turnserver would relay for anybody`}},
		"no-auth":                 {text: userConf + "no-auth", want: []string{":3: no-auth: refused"}},
		"no-auth=0":               {text: userConf + "no-auth=0", want: []string{":3: no-auth: refused"}},
		"static user":             {text: userConf + "user=bob:hunter2", want: []string{":3: user: refused"}},
		"static secret":           {mode: coturn.ModeSecret, text: "use-auth-secret\nrealm=r\nstatic-auth-secret=hunter2", want: []string{":3: static-auth-secret: refused"}},
		"secret run into a name":  {text: userConf + "static-auth-secret:hunter2", want: []string{":3: static-auth-secret: unknown"}},
		"user quota":              {text: userConf + "user-quota=12", want: []string{":3: user-quota: 12 found"}},
		"other databases":         {text: userConf + "psql-userdb=password=hunter2\nsql-userdb=hunter2\nmysql-userdb=hunter2\nmongo-userdb=hunter2\nredis-userdb=hunter2", want: []string{":3: psql-userdb: refused", ":4: sql-userdb: refused", ":5: mysql-userdb: refused", ":6: mongo-userdb: refused", ":7: redis-userdb: refused"}},
		"relative userdb":         {text: userConf + "db=turndb", want: []string{`:3: db: "turndb" found; an absolute path`}},
		"unknown option":          {text: userConf + "relm=x", want: []string{":3: relm: unknown"}},
		"dashes":                  {text: userConf + "--no-udp", want: []string{":3: --no-udp: unknown"}},
		"wrong case":              {text: userConf + "ca-file=/x", want: []string{":3: ca-file: unknown"}},
		"port not a number":       {text: userConf + "min-port=abc", want: []string{`:3: min-port: "abc" found; a number from 1 to 65535`}},
		"port out of range":       {text: userConf + "listening-port=65536", want: []string{`:3: listening-port: "65536" found`}},
		"port zero":               {text: userConf + "tls-listening-port=0", want: []string{`:3: tls-listening-port: "0" found`}},
		"port empty":              {text: userConf + "max-port", want: []string{`:3: max-port: "" found`}},
		"min above max":           {text: userConf + "min-port=50001\nmax-port=50000", want: []string{":3: min-port: min-port 50001 is above max-port 50000"}},
		"max below default min":   {text: userConf + "max-port=40000", want: []string{":3: max-port: min-port 49152 is above"}},
		"not an address":          {text: userConf + "listening-ip=eth0\nrelay-ip=\nexternal-ip=192.0.2.1/x", want: []string{`:3: listening-ip: "eth0" found`, `:4: relay-ip: "" found`, `:5: external-ip: "192.0.2.1/x" found; PUBLIC-IP`}},
		"not a boolean":           {text: userConf + "no-tcp=maybe", want: []string{`:3: no-tcp: "maybe" found; yes or no`}},
		"negative quota":          {text: userConf + "total-quota=-1", want: []string{`:3: total-quota: "-1" found; a number`}},
		"alternate server":        {text: userConf + "alternate-server=192.0.2.9", want: []string{":3: alternate-server: found, and turnserver would send every client elsewhere"}},
		"alternate by transport":  {text: userConf + "udp-alternate-server=192.0.2.9\ntcp-alternate-server=192.0.2.9", want: []string{":3: udp-alternate-server: found, and", ":4: tcp-alternate-server: found, and"}},
		"STUN only":               {text: userConf + "stun-only", want: []string{":3: stun-only: turns TURN off"}},
		"no relay at all":         {text: userConf + "no-udp-relay\nno-tcp-relay", want: []string{":4: no-tcp-relay: found beside"}},
		"capacity without rate":   {text: userConf + "bps-capacity=1000", want: []string{":3: bps-capacity: found without"}},
		"control character":       {text: userConf + "cert=a\x00b", want: []string{":3: control character"}},
		"long line":               {text: userConf + "cert=" + strings.Repeat("x", 996), want: []string{":3: 1001 bytes long"}},
		"long comment":            {text: "#" + strings.Repeat("x", 1023) + "no-auth\n" + userConf, want: []string{":1: 1031 bytes long"}},
		"version, a command line": {text: userConf + "version", want: []string{":3: version: refused"}},
		"all at once":             {text: "user=a:hunter2\nfoo\nmin-port=x", want: []string{":1: user: ", ":2: foo: ", ":3: min-port: ", ": lt-cred-mech: ", ": realm: "}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.mode == "" {
				tt.mode = coturn.ModeUser
			}
			path := writeConf(t, tt.text)
			c, err := coturn.ReadConf(path, tt.mode)
			if err == nil || c != nil {
				t.Fatalf("got %v, %v, want a refusal", c, err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error holds a secret: %v", err)
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tt.want) {
				t.Fatalf("got %d problems, want %d:\n%v", len(lines), len(tt.want), err)
			}
			for i, want := range tt.want {
				if !strings.HasPrefix(lines[i], path+want) {
					t.Errorf("problem %d: got %q, want it to begin %q", i, lines[i], path+want)
				}
			}
		})
	}
}

func TestConfCheck(t *testing.T) {
	const text = userConf + "no-tlsv1\nprod\nrfc5780\ndtls\ncli\nverbose\nno-loopback-peers\nprometheus\nno-dtls\nne=3"
	tests := map[string]struct {
		build coturn.Build
		want  []string
	}{
		"4.5.2":  {coturn.Build{coturn.Version{Major: 4, Minor: 5, Patch: 2}, true}, []string{":5: rfc5780: coturn 4.5.2 does not know this option, which came with 4.7.0", ":6: dtls: coturn 4.5.2 does not know", ":9: no-loopback-peers: "}},
		"4.6.1":  {coturn.Build{coturn.Version{Major: 4, Minor: 6, Patch: 1}, false}, []string{":5: rfc5780: ", ":6: dtls: ", ":9: no-loopback-peers: coturn 4.6.1 no longer knows this option, which went with 4.5.2", ":10: prometheus: this build of coturn 4.6.1 has no Prometheus endpoint"}},
		"4.7.0":  {coturn.Build{coturn.Version{Major: 4, Minor: 7, Patch: 0}, true}, []string{":3: no-tlsv1: ", ":4: prod: ", ":6: dtls: ", ":9: no-loopback-peers: "}},
		"4.18.0": {coturn.Build{coturn.Version{Major: 4, Minor: 18}, true}, []string{":3: no-tlsv1: ", ":4: prod: ", ":9: no-loopback-peers: ", ":11: no-dtls: coturn 4.18.0 no longer knows this option, which went with 4.18.0", ":12: ne: coturn 4.18.0 no longer knows this option, which went with 4.10.0"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := readConf(t, text, coturn.ModeUser)
			var got []string
			for i, w := range c.Check(tt.build) {
				w = strings.TrimPrefix(w, c.Path)
				if i < len(tt.want) && strings.HasPrefix(w, tt.want[i]) {
					w = tt.want[i]
				}
				got = append(got, w)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}
