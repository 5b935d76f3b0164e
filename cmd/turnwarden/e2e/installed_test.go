package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/userdb"
)

// an installation is a Debian that gets the packages of coturn and turnwarden.
type installation struct {
	*realtest.Debian
	*testing.T
	node  *host // as its clients see it
	zoo   *zk.Conn
	token string // for the API
}

// What the documents have people do with the packages, and TestInstalledPackage does.
var (
	aptInstall = []string{"apt-get", "install", "-y"}
	takeOver   = []string{"turnwarden", "handover"}
)

// do runs one of those.
func (i *installation) do(command []string, more ...string) (out string, err error) {
	return i.Try(slices.Concat(command, more)...)
}

// must is do where it has to succeed.
func (i *installation) must(command []string, more ...string) string {
	i.Helper()
	return i.Must(slices.Concat(command, more)...)
}

// TestInstalledPackage takes a host from coturn's own service to turnwarden and back, with
// Debian's dpkg and systemd: what is open goes on unless somebody has said that it may end.
// Each step begins where the one before has ended.
func TestInstalledPackage(t *testing.T) {
	if os.Getenv("TURNWARDEN_PACKAGES") == "" {
		t.Skip("it takes minutes: make test-packages")
	}
	debian := realtest.StartDebian(t, "coturn", "sqlite3")
	zoo := realtest.StartZooKeeperAt(t, debian.Host, 2181)
	i := &installation{Debian: debian, T: t, zoo: zoo.Client(t), node: &host{ip: debian.IP, turn: 3478, api: 13478, web: 13479}}
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := i.Try("journalctl", "--no-pager", "--output=cat", "--lines=150", "--unit=turnwarden", "--unit=turnwarden-gateway", "--unit=coturn")
			t.Logf("the log of the services:\n%s", log)
		}
	})
	for name, version := range map[string]string{"old.deb": "1.0.0", "new.deb": "1.0.1"} {
		output(t, "cp", makePackages(t, "deb", "VERSION="+version)[0], filepath.Join(i.Root, "root", name))
	}
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"install", i.install},
		{"refusals", i.refusals},
		{"handover", i.handover},
		{"watchdog", i.watchdog},
		{"upgrade", i.upgrade},
		{"drain", i.drain},
		{"gateway", i.gateway},
		{"remove", i.remove},
		{"purge", i.purge},
	} {
		start := time.Now()
		step.do()
		if t.Failed() {
			t.Fatalf("%s failed", step.name)
		}
		t.Logf("%s: %v", step.name, time.Since(start).Round(time.Second))
	}
}

// show is a property of a unit.
func (i *installation) show(unit, property string) string {
	i.Helper()
	return strings.TrimSpace(i.Must("systemctl", "show", "--value", "--property="+property, unit))
}

// is fails unless a unit's properties are as given.
func (i *installation) is(unit string, want map[string]string) {
	i.Helper()
	for property, value := range want {
		if got := i.show(unit, property); got != value {
			i.Errorf("%s: %s is %q, want %q", unit, property, got, value)
		}
	}
}

// write replaces a file of the container.
func (i *installation) write(path, content string, mode os.FileMode) {
	i.Helper()
	path = filepath.Join(i.Root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		i.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		i.Fatal(err)
	}
}

// configure writes turnwarden.yml.
func (i *installation) configure(listen, coturn string) {
	i.Helper()
	i.write("etc/turnwarden/turnwarden.yml", fmt.Sprintf(`coturn: {restart_delay: 100ms%s}
traffic: {capacity_mbps: 1000, interval: 1s}
registry: {zookeeper: ["%s:2181"], session_timeout: 4s}
probe: {interval: 1s}
api: {listen: "%s:13478", tokens_file: /run/credentials/turnwarden.service/secret_tokens}
`, coturn, i.Host, listen), 0o644)
}

// turnserver is the one that runs.
func (i *installation) turnserver() string {
	i.Helper()
	pids := strings.Fields(i.Must("pgrep", "--exact", "turnserver"))
	if len(pids) != 1 {
		i.Errorf("%d turnservers run: %s", len(pids), i.Must("ps", "-ef"))
	}
	return strings.Join(pids, " ")
}

// credential is what a caller with the token gets.
func (i *installation) credential() (s seed) {
	i.Helper()
	realtest.Eventually(i.T, time.Minute, func() error {
		r, err := http.NewRequestWithContext(i.Context(), http.MethodGet, "http://"+i.node.rest()+"/turncredential", nil)
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+i.token)
		resp, err := (&http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("status %s", resp.Status)
		}
		return json.NewDecoder(resp.Body).Decode(&s)
	})
	return s
}

// calls opens some.
func (i *installation) calls(s seed, n int) (calls []*call) {
	i.Helper()
	for range n {
		calls = append(calls, dialCall(i.T, i.node.addr().String(), s))
	}
	return calls
}

// install: coturn.service, which has calls, goes on.
func (i *installation) install() {
	i.must(aptInstall, "--no-install-recommends", "coturn", "sqlite3")
	conf, err := os.ReadFile(filepath.Join(i.Root, "etc/turnserver.conf"))
	if err != nil {
		i.Fatal(err)
	}
	i.write("etc/turnserver.conf", string(conf)+strings.Join([]string{
		"lt-cred-mech", "realm=" + realtest.Realm, "listening-ip=" + i.IP, "relay-ip=" + i.IP, "min-port=20000", "max-port=20999", "",
	}, "\n"), 0o640)
	i.Must("turnadmin", "-a", "-b", "/var/lib/turn/turndb", "-r", realtest.Realm, "-u", "before", "-p", "turnwarden")
	i.Must("systemctl", "restart", "coturn.service") // it notifies when it listens
	calls, pid := i.calls(seed{UserID: "before", Password: "turnwarden"}, 2), i.turnserver()

	said := i.must(aptInstall, "--no-install-recommends", "/root/old.deb")
	const waits = "coturn.service is active with a turnserver of its own"
	if strings.Count(said, waits) != 1 || !strings.Contains(said, "turnwarden waits; hand its ports over with: turnwarden handover") {
		i.Errorf("the installation does not say in a line what to do:\n%s", said)
	}
	realtest.Eventually(i.T, time.Minute, func() error {
		if got := i.show("turnwarden.service", "Result"); got != "exec-condition" {
			return fmt.Errorf("turnwarden.service: result %s", got)
		}
		return nil
	})
	i.is("turnwarden.service", map[string]string{"UnitFileState": "enabled", "ActiveState": "inactive"})
	i.is("turnwarden-gateway.service", map[string]string{"UnitFileState": "disabled", "ActiveState": "inactive"})
	if log := i.Must("journalctl", "--no-pager", "--unit=turnwarden"); strings.Count(log, waits) != 1 {
		i.Errorf("the log of turnwarden.service does not say in a line what to do:\n%s", log)
	}
	alive(i.T, calls)
	if now := i.turnserver(); now != pid {
		i.Errorf("turnserver was %s, and is %s", pid, now)
	}
	hangUp(i.T, calls)
}

// refusals: without a yes, and with a configuration that turnwarden refuses, nothing ends.
// What is found out only at the start of turnwarden has coturn.service come back.
func (i *installation) refusals() {
	calls, pid := i.calls(seed{UserID: "before", Password: "turnwarden"}, 2), i.turnserver()
	i.configure(i.IP, "")
	if said, err := i.do(takeOver); err == nil || !strings.Contains(said, " relay ports open. It is stopped, disabled and masked: its calls end now") || !strings.Contains(said, "nothing was changed") {
		i.Errorf("without an answer: %v\n%s", err, said)
	}
	i.configure(i.IP, ", drain_timeout: 5")
	if said, err := i.do(takeOver, "--yes"); err == nil || !strings.Contains(said, "coturn.drain_timeout") {
		i.Errorf("with a mistake in turnwarden.yml: %v\n%s", err, said)
	}
	alive(i.T, calls)
	if now := i.turnserver(); now != pid {
		i.Errorf("turnserver was %s, and is %s", pid, now)
	}

	i.configure("192.0.2.1", "")
	if said, err := i.do(takeOver, "--yes"); err == nil || !strings.Contains(said, "gave back") {
		i.Errorf("with an address that is not this host's: %v\n%s", err, said)
	}
	i.is("coturn.service", map[string]string{"ActiveState": "active", "UnitFileState": "enabled", "LoadState": "loaded"})
	i.is("turnwarden.service", map[string]string{"ExecMainStatus": "2", "NRestarts": "0"}) // no restart mends a mistake
	i.calls(seed{UserID: "before", Password: "turnwarden"}, 1)
}

// handover: turnwarden has the ports, and nothing but somebody's hand gives them back.
func (i *installation) handover() {
	said := i.Must("turnwarden", "token", "signalling")
	lines := regexp.MustCompile(`(?m)^  (.*)$`).FindAllStringSubmatch(said, -1)
	i.token = lines[0][1]
	i.write("etc/turnwarden/secrets/tokens", lines[1][1]+"\n", 0o600)
	i.configure(i.IP, "")
	said = i.must(takeOver, "--yes")
	if !strings.Contains(said, "its calls end now") || !strings.Contains(said, "The way back: ") {
		i.Errorf("handover says:\n%s", said)
	}
	i.is("coturn.service", map[string]string{"ActiveState": "inactive", "UnitFileState": "masked"})
	i.is("turnwarden.service", map[string]string{"ActiveState": "active", "SubState": "running", "UnitFileState": "enabled"})
	if user := strings.TrimSpace(i.Must("ps", "-o", "user=", "-p", i.turnserver())); !strings.HasPrefix("turnserver", strings.TrimSuffix(user, "+")) {
		i.Errorf("turnserver runs as %s", user)
	}
	listed(i.T, i.zoo, time.Minute)
	if code, body, err := get("http://" + i.node.rest() + "/turncredential"); err != nil || code != http.StatusUnauthorized {
		i.Errorf("without a token: %d %s %v", code, body, err)
	}
	hangUp(i.T, i.calls(i.credential(), 2))
	// Under all that the unit forbids, each part does its work.
	i.Must("turnwarden", "rotate")
	i.Must("systemctl", "reload", "turnwarden.service")
	if said := i.must(takeOver); !strings.Contains(said, "turnwarden.service has the ports") {
		i.Errorf("a second handover says:\n%s", said)
	}
}

// override puts lines into a drop-in of the unit.
func (i *installation) override(lines string) {
	i.Helper()
	i.write("etc/systemd/system/turnwarden.service.d/test.conf", "[Service]\n"+lines+"\n", 0o644)
	i.Must("systemctl", "daemon-reload")
	i.Must("systemctl", "restart", "turnwarden.service")
	listed(i.T, i.zoo, time.Minute)
}

// watchdog: a turnwarden that hangs is started again, although Go ends with the exit code
// of a mistake after the signal of the watchdog.
func (i *installation) watchdog() {
	i.override("WatchdogSec=6s")
	before, child := i.credential(), i.turnserver()
	i.Must("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "turnwarden.service")
	realtest.Eventually(i.T, 2*time.Minute, func() error {
		if n, state := i.show("turnwarden.service", "NRestarts"), i.show("turnwarden.service", "ActiveState"); n != "1" || state != "active" {
			return fmt.Errorf("%s restarts, %s", n, state)
		}
		return nil
	})
	if log := i.Must("journalctl", "--no-pager", "--unit=turnwarden"); !strings.Contains(log, "Watchdog timeout") || !strings.Contains(log, "SIGABRT: abort") {
		i.Errorf("the log has neither the watchdog nor where turnwarden stood:\n%s", log)
	}
	listed(i.T, i.zoo, time.Minute)
	if after := i.credential(); after.UserID != before.UserID {
		i.Errorf("the credential was %s, and is %s", before.UserID, after.UserID)
	}
	if now := i.turnserver(); now == child {
		i.Errorf("turnserver %s has outlived its turnwarden", child)
	}
}

// upgrade: neither a new version of turnwarden nor one of coturn ends a call or starts a
// second server, and the configuration stays.
func (i *installation) upgrade() {
	calls, child, main, s := i.calls(i.credential(), 5), i.turnserver(), i.show("turnwarden.service", "MainPID"), i.credential()
	conf := i.Must("cat", "/etc/turnwarden/turnwarden.yml")
	if status := i.Must("turnwarden", "status"); !strings.Contains(status, "1.0.0") {
		i.Errorf("before the upgrade:\n%s", status)
	}
	said := i.must(aptInstall, "/root/new.deb")
	if status := i.Must("turnwarden", "status"); !strings.Contains(status, "1.0.1") {
		i.Errorf("after the upgrade:\n%s\nof which was said:\n%s", status, said)
	}
	said = i.must(aptInstall, "--reinstall", "coturn")
	i.is("coturn.service", map[string]string{"ActiveState": "inactive", "UnitFileState": "masked"})
	i.is("turnwarden.service", map[string]string{"ActiveState": "active", "MainPID": main})
	if now := i.turnserver(); now != child {
		i.Errorf("turnserver was %s, and is %s:\n%s", child, now, said)
	}
	alive(i.T, calls)
	hangUp(i.T, calls)
	if now := i.credential(); now.UserID != s.UserID {
		i.Errorf("the credential was %s, and is %s", s.UserID, now.UserID)
	}
	if now := i.Must("cat", "/etc/turnwarden/turnwarden.yml"); now != conf {
		i.Errorf("turnwarden.yml was\n%s, and is\n%s", conf, now)
	}
	listed(i.T, i.zoo, time.Minute)
}

// drain: systemd waits as long as the drain's deadline says, whatever TimeoutStopSec is.
func (i *installation) drain() {
	i.configure(i.IP, ", drain_timeout: 20s")
	i.override("TimeoutStopSec=3s")
	i.calls(i.credential(), 1)
	start := time.Now()
	i.Must("systemctl", "stop", "turnwarden.service")
	if took := time.Since(start); took < 19*time.Second {
		i.Errorf("with a call that stays, and a deadline of 20 s, the stop took %v", took)
	}
	i.is("turnwarden.service", map[string]string{"Result": "success", "ExecMainStatus": "0", "ActiveState": "inactive"})
	unlisted(i.T, i.zoo, time.Minute)
	if left, err := i.Try("pgrep", "--exact", "turnserver"); err == nil {
		i.Errorf("a turnserver is left: %s", left)
	}
	i.configure(i.IP, "")
	i.Must("systemctl", "start", "turnwarden.service")
	listed(i.T, i.zoo, time.Minute)
}

// gateway: its unit hands out the node's credential.
func (i *installation) gateway() {
	i.write("etc/turnwarden/secrets/node", i.token+"\n", 0o600)
	i.write("etc/turnwarden/gateway.yml", fmt.Sprintf(`registry: {zookeeper: ["%s:2181"], session_timeout: 4s}
gateway: {node: {token_file: /run/credentials/turnwarden-gateway.service/secret_node, hosts: [0.0.0.0/0], insecure_http: true}}
api: {listen: "%s:13480", allow_unauthenticated: true}
`, i.Host, i.IP), 0o644)
	i.Must("systemctl", "enable", "--now", "turnwarden-gateway.service")
	want := i.credential()
	realtest.Eventually(i.T, time.Minute, func() error {
		s, err := fetch(i.IP + ":13480")
		if err == nil && s.UserID != want.UserID {
			err = fmt.Errorf("credential %s, want %s", s.UserID, want.UserID)
		}
		return err
	})
	i.is("turnwarden-gateway.service", map[string]string{"ActiveState": "active", "NRestarts": "0"})
}

// remove: what was made right is kept, and coturn.service can be had back.
func (i *installation) remove() {
	said := i.Must("apt-get", "remove", "-y", "turnwarden")
	if !strings.Contains(said, "to have it back: systemctl enable --now coturn") {
		i.Errorf("the removal says:\n%s", said)
	}
	unlisted(i.T, i.zoo, time.Minute)
	if left, err := i.Try("pgrep", "--list-full", "turn"); err == nil {
		i.Errorf("these are left: %s", left)
	}
	i.is("coturn.service", map[string]string{"ActiveState": "inactive", "UnitFileState": "disabled"})
	i.Must("test", "-s", "/etc/turnwarden/turnwarden.yml")
	i.Must("test", "-s", "/var/lib/turnwarden/credentials.json")
	if users := i.users(); !strings.Contains(users, "tw-") {
		i.Errorf("the credentials that clients have are gone: %s", users)
	}
}

// users are those of coturn's userdb, and its secrets.
func (i *installation) users() string {
	i.Helper()
	return i.Must("sqlite3", "/var/lib/turn/turndb", "SELECT name FROM turnusers_lt UNION SELECT value FROM turn_secret ORDER BY 1;")
}

// purge: nothing is left but logs.
func (i *installation) purge() {
	i.Must("rm", "-r", "/etc/systemd/system/turnwarden.service.d") // the test's own
	ours := userdb.SharedSecret(regexp.MustCompile(`(?m)^tw-\S+$`).FindString(i.users()), "x")
	i.Must("sqlite3", "/var/lib/turn/turndb", fmt.Sprintf("INSERT INTO turn_secret VALUES ('%[1]s', '%[2]s'), ('%[1]s', 'another');", realtest.Realm, ours))
	i.Must("apt-get", "purge", "-y", "turnwarden")
	if users := strings.Fields(i.users()); !slices.Equal(users, []string{"another", "before"}) {
		i.Errorf("in the userdb are left: %s", users)
	}
	left := strings.Fields(i.Must("find", "/", "-xdev", "-name", "*turnwarden*", "-not", "-path", "/var/log/*", "-not", "-path", "/proc/*"))
	left = append(left, strings.Fields(i.Must("find", "/run", "-name", "*turnwarden*"))...)
	if len(left) > 0 {
		i.Errorf("left behind: %q", left)
	}
	i.Must("systemctl", "enable", "--now", "coturn.service")
	i.calls(seed{UserID: "before", Password: "turnwarden"}, 1)
}
