package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// crowd is clients that keep allocating, with each credential that any of them was
// ever given and that has not expired. A server that is away is none of their
// business here; a refusal is.
type crowd struct {
	h           *host
	mu          sync.Mutex
	known       map[string]seed
	last        time.Time // the latest expiry that any of them was told
	allocations atomic.Int64
	stop        context.CancelFunc
	clients     sync.WaitGroup
}

func newCrowd(t *testing.T, h *host, clients int) *crowd {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c := &crowd{h: h, known: map[string]seed{}, stop: cancel}
	for range clients {
		c.clients.Go(func() {
			pace := time.NewTicker(40 * time.Millisecond)
			defer pace.Stop()
			for ctx.Err() == nil {
				<-pace.C
				c.turn(ctx, t)
			}
		})
	}
	return c
}

func (c *crowd) turn(ctx context.Context, t *testing.T) {
	if s, err := fetch(c.h.rest()); err == nil {
		c.mu.Lock()
		c.known[s.UserID] = s
		if s.expires().After(c.last) {
			c.last = s.expires()
		}
		c.mu.Unlock()
	}
	c.mu.Lock()
	var all []seed
	for id, s := range c.known {
		if time.Until(s.expires()) <= 0 {
			delete(c.known, id)
		} else {
			all = append(all, s)
		}
	}
	c.mu.Unlock()
	for _, s := range all {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		_, err := probe.Allocate(ctx, c.h.addr(), s.UserID, s.Password)
		cancel()
		switch {
		case err == nil:
			c.allocations.Add(1)
		case errors.Is(err, probe.ErrRefused) && time.Until(s.expires()) > 0:
			t.Errorf("refused %v before its expiry: %v", time.Until(s.expires()), err)
		}
	}
}

// end sends the clients home and returns the latest expiry that they were told.
func (c *crowd) end() time.Time {
	c.stop()
	c.clients.Wait()
	return c.last
}

// TestKilledWhileRotating kills turnwarden at each of its write points, then at random
// times (TURNWARDEN_KILLS of them), while it rotates every second. Nobody is refused,
// and in the end no user is left over.
func TestKilledWhileRotating(t *testing.T) {
	t.Parallel()
	kills := 5
	if text := os.Getenv("TURNWARDEN_KILLS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		kills = n
	}
	h := newHost(t, options{set: map[string]string{
		"credentials.userdb": "sqlite", "credentials.rotate_every": "1s", "credentials.lifetime": "4s",
	}})
	h.serve(t)
	clients := newCrowd(t, h, 4)
	again := func(when string) {
		h.signal(t, syscall.SIGKILL)
		<-h.exited
		h.serve(t)
		if t.Failed() {
			t.Fatalf("killed %s", when)
		}
	}
	for _, point := range []string{"pending", "verified", "active", "retiring", "deleted"} {
		waitForWrite(t, h, point)
		again("when the state file said " + point)
	}
	for range kills {
		<-time.After(time.Duration(rand.Int64N(int64(1500 * time.Millisecond)))) // the time is what is drawn
		again("at random")
	}
	h.waitReady(t)
	last := clients.end()
	t.Logf("%d kills, %d allocations, none refused", kills+5, clients.allocations.Load())
	if clients.allocations.Load() < int64(10*(kills+5)) {
		t.Error("too few allocations to prove anything")
	}
	<-time.After(time.Until(last)) // what was promised ends by the clock
	realtest.Eventually(t, 20*time.Second, func() error { return onlyLiveUsers(h) })
}

// state is what the tests read of the state file.
type state struct {
	Next        uint64 `json:"next_generation"`
	Generations []struct {
		Generation uint64
		State      string
		Username   string
	}
}

func (h *host) state() (s state, err error) {
	b, err := os.ReadFile(filepath.Join(h.dir, "state", "credentials.json"))
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	return s, err
}

// waitForWrite returns right after the state file was written with a generation newly
// in that state.
func waitForWrite(t *testing.T, h *host, want string) {
	t.Helper()
	in := func() map[uint64]bool {
		s, err := h.state()
		if err != nil {
			t.Fatal(err)
		}
		found := map[uint64]bool{}
		for _, g := range s.Generations {
			if g.State == want || want == "deleted" {
				found[g.Generation] = true
			}
		}
		return found
	}
	before := in()
	realtest.Eventually(t, 20*time.Second, func() error {
		now := in()
		for g := range now {
			if want != "deleted" && !before[g] {
				return nil
			}
		}
		for g := range before {
			if want == "deleted" && !now[g] {
				return nil
			}
		}
		before = now
		return fmt.Errorf("no write of %s", want)
	})
}

// onlyLiveUsers compares the userdb with the state file.
func onlyLiveUsers(h *host) error {
	s, err := h.state()
	if err != nil {
		return err
	}
	out, err := exec.Command("sqlite3", "-readonly", filepath.Join(h.dir, "turndb"), "select name from turnusers_lt").Output()
	if err != nil {
		return err
	}
	live := map[string]bool{}
	for _, g := range s.Generations {
		live[g.Username] = true
	}
	for name := range strings.FieldsSeq(string(out)) {
		if !live[name] {
			return fmt.Errorf("%s is in the userdb and on no record", name)
		}
	}
	return nil
}

// TestBadTurnadmin replaces turnadmin by one that fails, lies, hangs or is slow.
// Clients never notice; the metrics do.
func TestBadTurnadmin(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"fails": "echo ERROR: no; exit 255",
		"lies":  "exit 0",
		"hangs": "exec sleep 1000",
		"slow":  `sleep 0.4; exec turnadmin "$@"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			tool, bad := filepath.Join(dir, "tool"), filepath.Join(dir, "bad")
			wrapper := "#!/bin/sh\n[ -e " + bad + " ] || exec turnadmin \"$@\"\n" + script + "\n"
			if err := os.WriteFile(tool, []byte(wrapper), 0o700); err != nil {
				t.Fatal(err)
			}
			h := newHost(t, options{set: map[string]string{
				"coturn.turnadmin": tool, "credentials.rotate_every": "2s", "credentials.lifetime": "30s",
			}})
			h.serve(t)
			clients := newCrowd(t, h, 2)
			if err := os.WriteFile(bad, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			first := mustFetch(t, h.rest())
			if name == "slow" {
				realtest.Eventually(t, 20*time.Second, func() error { return changedFrom(h, first) })
			} else {
				realtest.Eventually(t, 40*time.Second, func() error {
					if h.metric(t, "turnwarden_credential_rotation_failures_total") == "0" {
						return errors.New("no failure counted")
					}
					return nil
				})
				if now := mustFetch(t, h.rest()); time.Until(now.expires()) <= 0 {
					t.Errorf("an expired credential is handed out: %+v", now)
				}
			}
			stuck := mustFetch(t, h.rest())
			if err := os.Remove(bad); err != nil {
				t.Fatal(err)
			}
			realtest.Eventually(t, 60*time.Second, func() error { return changedFrom(h, stuck) })
			clients.end()
			if n := clients.allocations.Load(); n < 20 {
				t.Errorf("%d allocations prove nothing", n)
			}
		})
	}
}

func changedFrom(h *host, old seed) error {
	s, err := fetch(h.rest())
	if err == nil && s == old {
		err = errors.New("the credential has not changed")
	}
	return err
}

// TestVanishedUser: a row that disappears while turnwarden runs is put back, and what
// is not ours is left alone.
func TestVanishedUser(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{})
	h.serve(t)
	s := mustFetch(t, h.rest())
	sql := func(statement string) string {
		out, err := exec.Command("sqlite3", "-cmd", ".timeout 5000", filepath.Join(h.dir, "turndb"), statement).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	stranger := "tw-0000000000-" + strings.Repeat("a", 26) // another node's
	sql("insert into turnusers_lt(realm,name,hmackey) values('" + realtest.Realm + "','" + stranger + "','" + strings.Repeat("0", 32) + "')")
	sql("delete from turnusers_lt where name='" + s.UserID + "'")
	serves(t, h, s, 15*time.Second)
	if got := sql("select count(*) from turnusers_lt where name='" + stranger + "'"); strings.TrimSpace(got) != "1" {
		t.Error("another node's user was touched")
	}
}

// TestPasswordsInArguments watches every process' arguments while users are rotated:
// with turnadmin a password is in turnadmin's own and in no other's, with sqlite in none.
func TestPasswordsInArguments(t *testing.T) {
	t.Parallel()
	for _, userdb := range []string{"turnadmin", "sqlite"} {
		t.Run(userdb, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, options{set: map[string]string{
				"credentials.userdb": userdb, "credentials.rotate_every": "1s", "credentials.lifetime": "5s",
			}})
			h.serve(t)
			seen := map[string]string{} // arguments, by pid and program
			passwords := map[string]bool{}
			deadline := time.Now().Add(4 * time.Second)
			for time.Now().Before(deadline) || len(passwords) < 3 && time.Now().Before(deadline.Add(time.Minute)) {
				passwords[mustFetch(t, h.rest()).Password] = true
				cmdlines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
				for _, path := range cmdlines {
					if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
						name, _, _ := strings.Cut(string(b), "\x00")
						seen[path+" "+filepath.Base(name)] += string(b)
					}
				}
			}
			if len(passwords) < 3 {
				t.Fatalf("%d passwords prove nothing", len(passwords))
			}
			for who, args := range seen {
				for p := range passwords {
					if strings.Contains(args, p) && (userdb == "sqlite" || !strings.HasSuffix(who, " turnadmin")) {
						t.Errorf("a password is in the arguments of %s", who)
					}
				}
			}
			for p := range passwords {
				noSecretsInSight(t, h, p)
			}
		})
	}
}
