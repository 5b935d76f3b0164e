package credential_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/turnwarden/turnwarden/service/credential"
)

const theirUser, theirPassword = "monitor-1533800000", "Zm9v+/=="

// theirs is what another program has handed out, good for d.
func theirs(d time.Duration) credential.Imported {
	return credential.Imported{Username: theirUser, Password: theirPassword, Expires: time.Now().Add(d)}
}

// imports asks, and returns the steps as revoke does.
func (w *world) imports(c credential.Imported) (steps []string, err error) {
	err = w.rotator().Import(w.alive, c, "operator", func(s credential.Step) {
		line := fmt.Sprintf("%s %d", s.Name, s.Generation)
		if s.Err != nil {
			line += "!"
		}
		steps = append(steps, line)
	})
	synctest.Wait()
	return steps, err
}

// has says whether the userdb knows the imported user, by its password.
func (w *world) has() bool { return w.ours()[theirUser] == theirPassword }

func (w *world) set(user, password string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.users[user] = password
}

// TestImportKeepsAnothersPromise: what another program has handed out is there until it
// expires, over restarts and though its row is lost, and is gone after.
func TestImportKeepsAnothersPromise(t *testing.T) {
	for name, tc := range map[string]struct {
		there bool
		steps string
	}{
		"in the userdb":     {true, "prove 2, record 2"},
		"not in the userdb": {false, "record 2, store 2, prove 2"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				if tc.there {
					w.set(theirUser, theirPassword)
				}
				w.start()
				served := w.mustFetch(t)
				// Longer than our own live: the promise is theirs.
				imported := theirs(3 * lifetime)
				steps, err := w.imports(imported)
				if got := strings.Join(steps, ", "); err != nil || got != tc.steps {
					t.Fatalf("import: %s, %v; want %s", got, err, tc.steps)
				}
				if now := w.mustFetch(t); now != served {
					t.Errorf("generation %d is handed out instead of %d", now.Generation, served.Generation)
				}
				if _, err := w.imports(imported); err == nil || !strings.Contains(err.Error(), "is generation 2 already") {
					t.Errorf("imported twice: %v", err)
				}
				w.vanish(func(user string) bool { return user == theirUser })
				w.rotator().Repair()
				w.pass(slack)
				for time.Until(imported.Expires) > rotateEvery {
					if !w.has() {
						t.Fatalf("gone %v before its time", time.Until(imported.Expires))
					}
					w.stop()
					w.start()
					w.pass(rotateEvery)
				}
				if !w.has() {
					t.Errorf("gone %v before its time", time.Until(imported.Expires))
				}
				w.pass(time.Until(imported.Expires) + credential.Skew(lifetime) + slack)
				if w.has() {
					t.Error("there although its time is over")
				}
				if strings.Contains(w.logged(), theirPassword) {
					t.Error("its password is in the log")
				}
			})
		})
	}
}

func TestImportIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(w *world, c *credential.Imported)
		says   string
	}{
		"expired": {func(_ *world, c *credential.Imported) { c.Expires = time.Now() }, "has expired at"},
		"another password": {
			func(w *world, _ *credential.Imported) { w.set(theirUser, "younger") },
			"knows user monitor-1533800000 by another password",
		},
		"a user of ours": {func(w *world, c *credential.Imported) {
			for user := range w.ours() {
				c.Username = user
			}
		}, "is generation 1 already"},
		"one that looks like it": {func(w *world, c *credential.Imported) {
			for user := range w.ours() {
				c.Username = user[:len(user)-2] + "zz"
			}
		}, "has the form of this node's own users"},
		"no answer":       {func(w *world, _ *credential.Imported) { w.fail("allocate", fault{err: credential.ErrNoAnswer}) }, "did not answer"},
		"userdb is shut":  {func(w *world, _ *credential.Imported) { w.fail("list", fault{err: errStore}) }, "database is locked"},
		"no room to save": {func(w *world, _ *credential.Imported) { w.unmount() }, "write state file"},
		"does not store":  {func(w *world, _ *credential.Imported) { w.fail("put", fault{err: errStore}) }, "database is locked"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.start()
				c := theirs(lifetime)
				tc.change(w, &c)
				before := w.ours()
				if _, err := w.imports(c); err == nil || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("import: %v, want %q", err, tc.says)
				}
				w.heal()
				if after := w.ours(); fmt.Sprint(after) != fmt.Sprint(before) {
					t.Errorf("the userdb was %v and is %v", before, after)
				}
				if n := len(w.rotator().Status().Generations); n != 1 {
					t.Errorf("%d generations are on record, want ours alone", n)
				}
			})
		})
	}
}

// TestImportCrash kills the process at each point of an import: the user is there at each
// of them, and after a restart and another try it is on record.
func TestImportCrash(t *testing.T) {
	points := 0
	for died := true; died; points++ {
		inWorld(t, func(t *testing.T, w *world) {
			w.set(theirUser, theirPassword)
			w.start()
			w.mu.Lock()
			w.eager, w.dieIn = true, points+1
			w.mu.Unlock()
			c := theirs(rotateEvery)
			_, _ = w.imports(c)
			w.mu.Lock()
			w.dieIn = 0
			w.mu.Unlock()
			if died = !w.running(); died {
				w.start()
				if _, err := w.imports(c); err != nil && !strings.Contains(err.Error(), "already") {
					t.Errorf("killed at point %d: %v", points, err)
				}
			}
			w.pass(rotateEvery - time.Second)
			if !w.has() {
				t.Errorf("killed at point %d: gone before its time", points)
			}
			w.pass(credential.Skew(lifetime) + slack)
			if w.has() {
				t.Errorf("killed at point %d: there although its time is over", points)
			}
		})
	}
	if points < 5 {
		t.Errorf("only %d points to die at", points-1)
	}
}

// TestPrune: what an operator names is deleted, and nothing that is ours, whatever is named.
func TestPrune(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.set("left-1", "x")
		w.set("left-2", "x")
		w.stranger("alice")
		_, active := w.twoHeld(t)
		if _, err := w.imports(credential.Imported{Username: "left-3", Password: "x", Expires: time.Now().Add(lifetime)}); err != nil {
			t.Fatal(err)
		}
		users, err := w.rotator().Users(w.alive)
		if err != nil {
			t.Fatal(err)
		}
		names := []string{"nobody"}
		for _, u := range users {
			if u.Ours != (u.Generation != 0) || u.Ours != (u.State != "") {
				t.Errorf("%+v", u)
			}
			if u.Name != "alice" {
				names = append(names, u.Name)
			}
		}
		if len(users) != 6 {
			t.Errorf("%d users are listed: %+v", len(users), users)
		}
		outcome := map[string]error{}
		err = w.rotator().Prune(w.alive, names, "operator", func(s credential.Step) { outcome[s.User] = s.Err })
		if err == nil || len(outcome) != len(names) {
			t.Errorf("prune: %v, with %v", err, outcome)
		}
		for _, name := range []string{"left-1", "left-2"} {
			if outcome[name] != nil || w.ours()[name] != "" {
				t.Errorf("%s is there: %v", name, outcome[name])
			}
		}
		for name, says := range map[string]string{active.Username: "turnwarden's own", "left-3": "turnwarden's own", "nobody": "no user nobody"} {
			if outcome[name] == nil || !strings.Contains(outcome[name].Error(), says) {
				t.Errorf("%s: %v, want %q", name, outcome[name], says)
			}
		}
		w.fail("delete", fault{err: errStore})
		if err := w.rotator().Prune(w.alive, []string{"alice"}, "operator", func(credential.Step) {}); err == nil {
			t.Error("no failure is told")
		}
	})
}
