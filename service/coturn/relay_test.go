package coturn_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/realtest"
)

const realm = "turn.example.org"

// relay is a turnserver with a CLI, as a supervisor starts it.
type relay struct {
	addr    string
	child   *child
	runtime coturn.Runtime
	userdb  string
	cli     *coturn.CLI
}

func startRelay(t *testing.T, mode coturn.Mode, lines string, cliPort int, password coturn.CLIPassword) *relay {
	t.Helper()
	realtest.Require(t, "turnserver", "turnadmin", "sqlite3")
	version, err := coturn.DetectVersion(t.Context(), "turnserver")
	check(t, err)
	r := &relay{
		runtime: coturn.Runtime{Version: version, CLI: true, CLIPort: cliPort, CLIPassword: password},
		userdb:  filepath.Join(t.TempDir(), "turndb"),
	}
	realtest.CreateDatabase(t, r.userdb)
	ip := realtest.Loopback(t)
	port := realtest.FreePort(t, ip)
	conf := readConf(t, fmt.Sprintf("realm=%s\nuserdb=%s\nlistening-ip=%s\nrelay-ip=%[3]s\nlistening-port=%d\nmin-port=20000\nmax-port=20999\nallow-loopback-peers\n%s\n",
		realm, r.userdb, ip, port, lines), mode)
	rendered := filepath.Join(t.TempDir(), "rendered.conf")
	check(t, os.WriteFile(rendered, conf.Render(r.runtime), 0o600))
	r.child = startTurnserver(t, rendered)
	r.addr = net.JoinHostPort(ip, fmt.Sprint(port))
	r.cli = coturn.NewCLI(func() coturn.Runtime { return r.runtime }, func() int { return port })
	realtest.Eventually(t, 20*time.Second, func() error { return refusesAllocate(r.addr, realm) })
	return r
}

// startUserRelay starts one that knows alice and bob.
func startUserRelay(t *testing.T, cliPort int, password coturn.CLIPassword) *relay {
	t.Helper()
	r := startRelay(t, coturn.ModeUser, "lt-cred-mech", cliPort, password)
	for _, user := range []string{"alice", "bob"} {
		realtest.AddUser(t, r.userdb, realm, user, "pw")
	}
	return r
}

// call returns a client with an allocation.
func (r *relay) call(t *testing.T, network, user string) *realtest.TurnClient {
	t.Helper()
	c := realtest.NewTurnClient(t, network, r.addr, user, "pw")
	check(t, c.Allocate(0))
	return c
}

// listed reports an error unless the CLI lists so many sessions of the user. The
// thread of the CLI hears of a session a moment after its client.
func (r *relay) listed(t *testing.T, user string, want int) (ids []string) {
	t.Helper()
	realtest.Eventually(t, 10*time.Second, func() error {
		begin := time.Now()
		list, err := r.cli.List(t.Context(), user)
		if len(list) != want || err != nil {
			return fmt.Errorf("%d sessions of %q, %w; want %d", len(list), user, err, want)
		}
		t.Logf("listing %d sessions took %v", want, time.Since(begin))
		ids = nil
		for _, s := range list {
			ids = append(ids, s.ID)
		}
		return nil
	})
	return ids
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
