package credential_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/credential"
)

// ourName has the form of this node's usernames, by the contract.
func ourName(node, letter string) string {
	return fmt.Sprintf("tw-%x-", sha256.Sum256([]byte(node)))[:13] + "-" + strings.Repeat(letter, 26)
}

func TestInvariant6Reconciliation(t *testing.T) {
	orphan := ourName("turn-1", "x")
	strangers := []string{
		"operator", ourName("turn", "x"), ourName("turn-2", "x"), orphan + "x", orphan[:len(orphan)-1],
		orphan[:13] + "-", "tw-", strings.ToUpper(orphan), orphan[:len(orphan)-1] + "_", " " + orphan,
	}
	inWorld(t, func(t *testing.T, w *world) {
		for _, s := range strangers {
			w.stranger(s) // the world watches over them
		}
		w.start()
		w.mustFetch(t)
		w.stop()
		w.mu.Lock()
		w.users[orphan] = "left by a crash"
		w.mu.Unlock()
		w.start()
		w.pass(lifetime + credential.Skew(lifetime) + slack) // nothing was on record at the first start
		if w.ours()[orphan] != "" {
			t.Error("a user of ours that no generation owns is kept")
		}
		if c := w.mustFetch(t); w.ours()[c.Username] == "" {
			t.Error("the active user is gone")
		}
	})
}

func TestInvariant6AfterLostState(t *testing.T) {
	for name, lose := range map[string]func(path string) error{
		"removed": os.Remove,
		"corrupt": func(path string) error { return os.WriteFile(path, []byte("{"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.start()
				c := w.mustFetch(t)
				w.stop()
				state := filepath.Join(w.disk, "credentials.json")
				if err := lose(state); err != nil {
					t.Fatal(err)
				}
				w.start()
				boot := time.Now()
				if got := w.mustFetch(t); got.Username == c.Username {
					t.Error("the lost generation came back")
				}
				if _, err := os.Stat(state + ".corrupt"); (err == nil) != (name == "corrupt") {
					t.Errorf("kept aside: %v", err)
				}
				// Another restart, with the state intact, does not shorten the wait.
				w.pass(10 * time.Minute)
				w.stop()
				w.start()
				w.pass(time.Until(boot.Add(lifetime + credential.Skew(lifetime) - 1)))
				if w.ours()[c.Username] == "" {
					t.Error("a client was cut off before lifetime and skew had passed since the start")
				}
				if n := w.rotator().Status().DeletesPending; n != 0 {
					t.Errorf("%d users that clients may hold are called overdue", n)
				}
				w.pass(slack)
				if w.ours()[c.Username] != "" {
					t.Error("the unowned user is kept for ever")
				}
			})
		})
	}
}

// A successor that waits is published with its user there, whoever deleted it meanwhile.
func TestInvariant1VanishedSuccessorComesBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		w.pass(rotateEvery - credential.Lead(rotateEvery) + time.Second)
		if s := states(w); s != "active verified" {
			t.Fatalf("generations are %s", s)
		}
		w.vanish(func(string) bool { return true })
		w.rotator().Repair() // as the first probe that is refused does
		for w.rotator().Status().Active != 2 {
			w.pass(100 * time.Millisecond)
		}
		if c := w.mustFetch(t); w.ours()[c.Username] != c.Password.Reveal() {
			t.Errorf("generation %d is handed out, and its user is not there", c.Generation)
		}
	})
}

// A host that is given another name still keeps what it promised under the old one, and no
// longer than that: nobody else would delete those users.
func TestRenamedNodeKeepsItsPromises(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		retiring, active := w.twoHeld(t)
		w.pass(rotateEvery - 30*time.Second) // a successor is proved
		w.stop()
		w.cfg.Node, w.published = "turn-2", false
		w.vanish(func(user string) bool { return user == active.Username })
		w.start()
		if c := w.mustFetch(t); c.Generation != 4 || !strings.HasPrefix(c.Username, ourName("turn-2", "")) {
			t.Errorf("generation %d of user %s is served", c.Generation, c.Username)
		}
		w.pass(time.Until(active.Expires) - 1)
		if w.ours()[active.Username] != active.Password.Reveal() {
			t.Error("a client of the old name is cut off")
		}
		w.pass(credential.Skew(lifetime) + slack)
		for _, c := range []credential.Credential{retiring, active} {
			if w.ours()[c.Username] != "" {
				t.Errorf("generation %d works for ever", c.Generation)
			}
		}
		for user := range w.ours() {
			if !strings.HasPrefix(user, ourName("turn-2", "")) {
				t.Errorf("%s is left of the old name", user)
			}
		}
		w.stop()
		w.start()
		w.mustFetch(t)
	})
}

// One that cannot be deleted when its time has come is.
func TestUnownedUsersArePending(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		w.mu.Lock()
		w.users[ourName("turn-1", "x")] = "left by a crash"
		w.mu.Unlock()
		w.pass(lifetime + credential.Skew(lifetime) - time.Second)
		w.fail("delete", fault{err: errStore})
		w.pass(slack)
		if n := w.rotator().Status().DeletesPending; n != 1 {
			t.Errorf("%d deletes are pending, want 1", n)
		}
		w.heal()
		w.pass(time.Minute)
		if n := w.rotator().Status().DeletesPending; n != 0 {
			t.Errorf("%d deletes are pending when all are done", n)
		}
	})
}

func TestInvariant6VanishedUsersComeBack(t *testing.T) {
	all := func(string) bool { return true }
	for name, tc := range map[string]struct {
		prepare func(w *world)
		repair  bool
		within  time.Duration
	}{
		"unnoticed": {func(*world) {}, false, slack},
		"noticed":   {func(*world) {}, true, 0},
		"while deletes fail": {func(w *world) {
			w.fail("delete", fault{err: errStore})
			w.pass(lifetime + credential.Skew(lifetime) + slack)
		}, true, 0},
		"after a failed repair":  {func(w *world) { w.fail("list", fault{err: errStore}) }, true, 5 * time.Second},
		"after a failed put":     {func(w *world) { w.fail("put", fault{err: errStore, takes: time.Second}) }, true, 5 * time.Second},
		"after a put that hangs": {func(w *world) { w.fail("put", fault{takes: forever}) }, true, 2 * credential.StepTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.start()
				w.mustFetch(t)
				tc.prepare(w)
				held := w.mustFetch(t)
				w.vanish(all)
				if tc.repair {
					w.rotator().Repair()
				}
				w.pass(0)
				w.fail("list", fault{})
				w.fail("put", fault{})
				w.pass(tc.within)
				if w.ours()[held.Username] != held.Password.Reveal() {
					t.Errorf("the live user is still missing after %v", tc.within)
				}
			})
		})
	}
}
