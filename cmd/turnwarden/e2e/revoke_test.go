package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestRevoke: a compromised generation with 200 calls is dead within 2 s, its calls end,
// and 50 calls of its successor go on.
func TestRevoke(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{set: map[string]string{"credentials.userdb": "sqlite"}})
	h.serve(t)
	compromised := mustFetch(t, h.rest())
	var theirs, ours []*call
	for range 200 {
		theirs = append(theirs, dialCall(t, h.addr().String(), compromised))
	}
	if out, code := h.ask(t, "rotate"); code != 0 || !regexp.MustCompile(`publish +generation 2 .* ok`).MatchString(out) {
		t.Fatalf("rotate: %d\n%s", code, out)
	}
	good, err := fetch(h.rest())
	if err != nil || good == compromised {
		t.Fatalf("after rotate: %+v %v", good, err)
	}
	for range 50 {
		ours = append(ours, dialCall(t, h.addr().String(), good))
	}
	began := time.Now()
	out, code := h.ask(t, "revoke", "--generation=1")
	took := time.Since(began)
	// A probe of our own may be among them.
	ended := regexp.MustCompile(`(\d+) ended, none left`).FindStringSubmatch(out)
	if code != 0 || ended == nil {
		t.Fatalf("revoke: %d\n%s", code, out)
	}
	if n, err := strconv.Atoi(ended[1]); err != nil || n < 200 || n > 202 {
		t.Errorf("%s calls ended, want 200", ended[1])
	}
	t.Logf("revoked with 200 calls in %v:\n%s", took.Round(time.Millisecond), out)
	for i, c := range theirs {
		if code := c.refresh(t); code == 0 {
			t.Errorf("call %d of the revoked generation goes on", i)
		}
	}
	for i, c := range ours {
		if code := c.refresh(t); code != 0 {
			t.Errorf("call %d of another generation: refresh answered %d", i, code)
		}
	}
	if _, err := probe.Allocate(t.Context(), h.addr(), compromised.UserID, compromised.Password); err == nil {
		t.Error("the revoked credential is accepted")
	}
	serves(t, h, good, 10*time.Second)

	// The active one: a successor first, and nobody is left without.
	if out, code := h.ask(t, "revoke", "--user="+good.UserID, "--keep-calls"); code != 0 {
		t.Fatalf("revoke --user: %d\n%s", code, out)
	}
	next, err := fetch(h.rest())
	if err != nil || next == good {
		t.Fatalf("after the active one was revoked: %+v %v", next, err)
	}
	serves(t, h, next, 10*time.Second)
	if code := ours[0].refresh(t); code != 0 {
		t.Errorf("--keep-calls: refresh answered %d", code)
	}
	for _, bad := range [][]string{{"revoke"}, {"revoke", "--all", "--generation=3"}} {
		if out, code := h.ask(t, bad...); code != 2 {
			t.Errorf("%v: exit code %d\n%s", bad, code, out)
		}
	}
	if out, code := h.ask(t, "revoke", "--generation=77"); code != 1 || !strings.Contains(out, "no generation 77") {
		t.Errorf("unknown generation: %d %s", code, out)
	}
	noPasswords(t, h, compromised.Password, good.Password, next.Password)
}

// noPasswords looks where a password must not be: log, metrics, readiness, and the
// arguments of every process.
func noPasswords(t *testing.T, h *host, passwords ...string) {
	t.Helper()
	running := strings.Join(arguments(), "\n")
	for _, p := range passwords {
		if strings.Contains(running, p) {
			t.Error("a password is in the arguments of a process")
		}
		noSecretsInSight(t, h, p)
	}
}

// arguments are those of every process.
func arguments() (all []string) {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		b, _ := os.ReadFile(path) // it may have ended
		all = append(all, string(b))
	}
	return all
}

// noSecretsInSight looks at what turnwarden itself shows.
func noSecretsInSight(t *testing.T, h *host, password string) {
	t.Helper()
	places := map[string]string{"the log": h.log(t)}
	for _, path := range []string{"/metrics", "/-/ready", "/"} {
		var err error
		if _, places[path], err = h.get(path); err != nil {
			t.Fatal(err)
		}
	}
	for place, text := range places {
		if strings.Contains(text, password) {
			t.Errorf("a password is in %s", place)
		}
	}
}

// TestParkedAttacker: a 5-tuple that authenticated before the revocation without
// allocating keeps its key for a minute. What it allocates later does not live.
func TestParkedAttacker(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{})
	h.serve(t)
	s := mustFetch(t, h.rest())
	var parked []*call
	for i := range 10 {
		network := "udp"
		if i%2 == 1 {
			network = "tcp"
		}
		c := newCall(t, network, h.addr().String(), s)
		// An Allocate without a login brings the nonce.
		m := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest), requestedUDP{})
		if answer := c.exchange(m); answer == nil || c.nonce.GetFrom(answer) != nil {
			t.Fatal("no nonce")
		}
		// Without an allocation it is refused, but after the login: 400 (4.6.1).
		if code := c.request(t, stun.MethodCreatePermission, peerAddress{}); code != 400 {
			t.Fatalf("parking answered %d", code)
		}
		parked = append(parked, c)
	}
	done := make(chan string, 1)
	go func() {
		out, code := h.ask(t, "revoke", "--all", "--wait")
		done <- fmt.Sprintf("%d %s", code, out)
	}()
	realtest.Eventually(t, 10*time.Second, func() error {
		if now, err := fetch(h.rest()); err != nil || now == s {
			return fmt.Errorf("not revoked yet: %v", err)
		}
		return nil
	})
	var attack sync.WaitGroup
	var allocated atomic.Int32
	for i, c := range parked {
		attack.Go(func() {
			<-time.After(time.Duration(i) * 6 * time.Second) // each at its own time of the next minute
			if c.request(t, stun.MethodAllocate, requestedUDP{}) != 0 {
				return // its key was gone
			}
			allocated.Add(1)
			realtest.Eventually(t, 2*time.Second, func() error {
				if c.refresh(t) == 0 {
					return fmt.Errorf("attacker %d keeps an allocation", i)
				}
				return nil
			})
		})
	}
	attack.Wait()
	if allocated.Load() == 0 {
		t.Error("no attacker could allocate: the test proves nothing")
	}
	t.Logf("%d of %d attackers allocated after the revocation", allocated.Load(), len(parked))
	out := <-done
	if !strings.HasPrefix(out, "0 ") {
		t.Errorf("revoke --wait: %s", out)
	}
	t.Log(out)
}

// TestSecretMode: each client has a username of its own, made in memory; the secret is
// what rotates, and what it made works until it said.
func TestSecretMode(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{without: "lt-cred-mech", conf: []string{"use-auth-secret"}, set: map[string]string{
		"credentials.mode": "secret", "credentials.userdb": "sqlite", "credentials.lifetime": "6s", "credentials.rotate_every": "2s",
	}})
	h.serve(t)
	alice := mustFetch(t, h.rest()+"/turncredential?userid=alice&ttl=5#")
	expiry, id, _ := strings.Cut(alice.UserID, ":")
	if seconds, err := strconv.ParseInt(expiry, 10, 64); err != nil || id != "alice" || seconds*1000 != alice.ExpiredTime {
		t.Errorf("credential %+v", alice)
	}
	if left := time.Until(alice.expires()); left > 5*time.Second || left < 2*time.Second {
		t.Errorf("ttl=5 gave %v", left)
	}
	bob, err := fetch(h.rest() + "/turncredential?userid=bob#")
	if err != nil || bob.UserID == alice.UserID {
		t.Fatalf("%+v %v", bob, err)
	}
	long, err := fetch(h.rest() + "/turncredential?userid=bob&ttl=86400#")
	if err != nil || time.Until(long.expires()) > 6*time.Second {
		t.Errorf("a ttl of a day with a secret of 6 s gave %v, %v", time.Until(long.expires()), err)
	}
	for query, want := range map[string]string{"userid=a:b": "userid", "userid=a%20b": "userid", "userid=" + strings.Repeat("a", 65): "userid", "ttl=0": "ttl", "ttl=1h": "ttl"} {
		code, body, err := get("http://" + h.rest() + "/turncredential?" + query)
		if err != nil || code != 400 || !strings.Contains(body, want) || !strings.Contains(body, `"code" : "error"`) {
			t.Errorf("%s: %d %s %v", query, code, body, err)
		}
	}
	// alice's works across a rotation of the secret, until its own expiry.
	first := h.metric(t, "turnwarden_credential_rotations_total")
	for time.Until(alice.expires()) > 300*time.Millisecond {
		if _, err := probe.Allocate(t.Context(), h.addr(), alice.UserID, alice.Password); err != nil && time.Until(alice.expires()) > 0 {
			t.Fatalf("refused %v before its expiry: %v", time.Until(alice.expires()), err)
		}
		<-time.After(50 * time.Millisecond)
	}
	if now := h.metric(t, "turnwarden_credential_rotations_total"); now == first {
		t.Error("the secret was not rotated meanwhile")
	}
	carol := mustFetch(t, h.rest()+"/turncredential?userid=carol#")
	call := dialCall(t, h.addr().String(), carol)
	stays := dialCall(t, h.addr().String(), mustFetch(t, h.rest()+"/turncredential?userid=dave#"))
	if out, code := h.ask(t, "revoke", "--user=carol"); code != 0 || !strings.Contains(out, "1 ended") {
		t.Errorf("revoke --user: %d\n%s", code, out)
	}
	if call.refresh(t) == 0 {
		t.Error("carol's call goes on")
	}
	eve := mustFetch(t, h.rest()+"/turncredential?userid=eve#") // carol's calls are swept
	again := dialCall(t, h.addr().String(), eve)
	if out, code := h.ask(t, "revoke", "--user="+eve.UserID); code != 0 || !strings.Contains(out, "1 ended") {
		t.Errorf("revoke --user with the whole username: %d\n%s", code, out)
	}
	if again.refresh(t) == 0 {
		t.Error("eve's call goes on")
	}
	if code := stays.refresh(t); code != 0 {
		t.Errorf("dave's call: %d", code)
	}
	frank := mustFetch(t, h.rest()+"/turncredential?userid=frank#")
	out, code := h.ask(t, "revoke", "--all")
	if code != 0 || !strings.Contains(out, "every call ends") {
		t.Errorf("revoke --all: %d\n%s", code, out)
	}
	if stays.refresh(t) == 0 {
		t.Error("dave's call goes on after the secret was revoked")
	}
	if _, err := probe.Allocate(t.Context(), h.addr(), frank.UserID, frank.Password); err == nil {
		t.Error("what the revoked secret made is accepted")
	}
	// Calls with the next secret live, though the sweep goes on for a minute.
	erin := dialCall(t, h.addr().String(), mustFetch(t, h.rest()+"/turncredential?userid=erin#"))
	<-time.After(2 * sweepSeen)
	if code := erin.refresh(t); code != 0 {
		t.Errorf("erin's call with the new secret: %d", code)
	}
	secrets := regexp.MustCompile(`"password": "([^"]+)"`)
	state, err := os.ReadFile(filepath.Join(h.dir, "state", "secrets.json"))
	if err != nil {
		t.Fatal(err)
	}
	found := secrets.FindAllStringSubmatch(string(state), -1)
	if len(found) == 0 {
		t.Error("there is no secret in the state")
	}
	for _, m := range found {
		noPasswords(t, h, m[1])
	}
	noPasswords(t, h, alice.Password)
}

// sweepSeen is the time between two sweeps.
const sweepSeen = time.Second
