package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// installed has the host run a program from a directory of its own, in which install puts
// another one in its place, as a package manager does.
func installed(t testing.TB, o options) *host {
	t.Helper()
	h := newHost(t, o)
	h.program = filepath.Join(h.dir, "turnwarden")
	h.install(t, program())
	return h
}

func (h *host) install(t testing.TB, path string) {
	t.Helper()
	next := h.program + ".new"
	if err := os.Symlink(path, next); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, h.program); err != nil {
		t.Fatal(err)
	}
}

// installText installs a file that the test writes.
func (h *host) installText(t testing.TB, text string, mode os.FileMode) {
	t.Helper()
	f, err := os.CreateTemp(h.dir, "program")
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Chmod(mode), f.Close(), os.Rename(f.Name(), h.program)); err != nil {
		t.Fatal(err)
	}
}

// TestUpgrades upgrades a busy host in place, again and again: nobody notices. `make
// upgrades` does it a hundred times, between two versions.
func TestUpgrades(t *testing.T) {
	t.Parallel()
	times := 3
	if s := os.Getenv("TURNWARDEN_UPGRADES"); s != "" {
		var err error
		if times, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	programs := []string{program()}
	if s := os.Getenv("TURNWARDEN_PROGRAMS"); s != "" {
		programs = strings.Fields(s)
	}
	z := realtest.StartZooKeeper(t)
	h := installed(t, options{zookeeper: []string{z.Addr()}, set: map[string]string{
		"credentials.rotate_every": "2s", "credentials.lifetime": "1m", // turnadmin is often at work
		"registry.session_timeout": "20s",
	}})
	h.install(t, programs[0])
	h.serve(t)
	listed(t, z.Client(t), 10*time.Second)
	child, pid, session := h.child(t), h.cmd.Process.Pid, sessionOf(t, z.Client(t))

	const calls = 20
	c := everybodyOf(t, h, z, calls)
	defer c.leave()
	var control answerCounts
	for _, phase := range []string{"without upgrades", "with upgrades"} {
		began, before := time.Now(), c.counts()
		for i := range times {
			if phase == "without upgrades" {
				<-time.After(300 * time.Millisecond)
				continue
			}
			h.install(t, programs[(i+1)%len(programs)])
			out, code := h.ask(t, "upgrade")
			if code != 0 || !strings.Contains(out, fmt.Sprintf("turnserver %d goes on", child)) {
				t.Fatalf("upgrade %d: exit code %d\n%s", i+1, code, out)
			}
			if now := h.child(t); now != child {
				t.Fatalf("upgrade %d: turnserver has pid %d, had %d", i+1, now, child)
			}
			if t.Failed() {
				t.Fatalf("upgrade %d", i+1)
			}
		}
		if phase == "without upgrades" {
			control = c.counts()
		}
		t.Logf("%v %s: %v", time.Since(began).Round(time.Millisecond), phase, c.counts().minus(before))
	}
	if now := sessionOf(t, z.Client(t)); now != session {
		t.Errorf("the record is of session %x, and was of %x", now, session)
	}
	c.leave()
	end := c.counts()
	t.Logf("%d upgrades, pid %d, turnserver %d: %v; slowest answer %v", times, pid, child, end.minus(control), time.Duration(c.slowest.Load()).Round(time.Millisecond))
	if lost, dropped := end.sent-end.received, int64(c.dropped()); lost > dropped {
		t.Errorf("%d of %d packets were lost, %d of them in full buffers", lost, end.sent, dropped)
	} else if lost > 0 {
		t.Logf("%d packets of %d did not fit into the buffers of a starved machine", lost, end.sent)
	}

	// The child is as much ours as it was: it dies with us.
	h.signal(t, syscall.SIGKILL)
	<-h.exited
	gone(t, child, 2*time.Second)
}

// sessionOf is the ZooKeeper session that the record lives and dies with.
func sessionOf(t *testing.T, c *zk.Conn) int64 {
	t.Helper()
	_, stat, err := c.Exists("/turn/servers/" + hostName(t))
	if err != nil {
		t.Fatal(err)
	}
	return stat.EphemeralOwner
}

type answerCounts struct{ credentials, kept, scrapes, looks, sent, received int64 }

func (c *everybody) counts() answerCounts {
	return answerCounts{
		c.credentials.Load(), c.kept.Load(), c.scrapes.Load(), c.looks.Load(),
		c.sent.Load(), c.received.Load(),
	}
}

func (a answerCounts) minus(b answerCounts) answerCounts {
	return answerCounts{a.credentials - b.credentials, a.kept - b.kept, a.scrapes - b.scrapes, a.looks - b.looks, a.sent - b.sent, a.received - b.received}
}

func (a answerCounts) String() string {
	return fmt.Sprintf("%d credentials on new connections and %d on kept ones, %d scrapes, %d looks at the record, %d packets sent and %d received",
		a.credentials, a.kept, a.scrapes, a.looks, a.sent, a.received)
}
