package credential_test

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/turnwarden/turnwarden/service/credential"
)

// TestModel takes a rotator through random schedules of time, clients, crashes
// at every point, failing stores, servers and disks, lost state, vanished users,
// clock steps, drains and reloads, and looks at the invariants at every point of each. When the
// world heals, everything must be as it should be within bounded time.
// More than the default: go test -run TestModel -rapid.checks=100000.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		bubble(t, func() { schedule(rt) })
	})
}

// bubble runs f in a synctest bubble and carries its panic out, which is how
// rapid ends a check.
func bubble(t *testing.T, f func()) {
	var failure any
	synctest.Test(t, func(*testing.T) {
		defer func() {
			failure = recover()
			if _, bug := failure.(runtime.Error); bug { // where it was is not known outside
				t.Logf("%v\n%s", failure, debug.Stack())
			}
		}()
		f()
	})
	if failure != nil {
		panic(failure)
	}
}

func schedule(rt *rapid.T) {
	const longest = 10 * time.Minute
	configure := func(rt *rapid.T) (lifetime, rotateEvery time.Duration) {
		lifetime = rapid.SampledFrom([]time.Duration{time.Minute, longest}).Draw(rt, "lifetime")
		return lifetime, lifetime * time.Duration(rapid.IntRange(2, 9).Draw(rt, "rotate_every tenths")) / 10
	}
	lifetime, rotateEvery := configure(rt)
	w := newWorld(rt, lifetime, rotateEvery)
	defer w.end()
	w.stranger("operator")
	w.stranger("tw-0123456789-ABCDEFGHIJKLMNOPQRSTUVWXYZ") // another node's
	w.start()

	times := rapid.OneOf(
		rapid.Int64Range(0, int64(time.Second)),
		rapid.Int64Range(0, int64(rotateEvery)),
		rapid.Int64Range(0, int64(lifetime+credential.Skew(lifetime))*5/4),
	)
	whileRunning := func(act func(*rapid.T)) func(*rapid.T) {
		return func(rt *rapid.T) {
			synctest.Wait() // also after an action that was skipped half way
			if !w.running() {
				rt.Skip("no process")
			}
			act(rt)
		}
	}
	rt.Repeat(map[string]func(*rapid.T){
		"pass":  func(rt *rapid.T) { w.pass(time.Duration(times.Draw(rt, "for"))) },
		"fetch": whileRunning(func(*rapid.T) { w.fetch() }),
		"clients": whileRunning(func(rt *rapid.T) {
			eager := rapid.Bool().Draw(rt, "at every point") // not under the lock: it may panic
			w.mu.Lock()
			w.eager = eager
			w.mu.Unlock()
		}),
		"crash": whileRunning(func(rt *rapid.T) {
			dieIn := rapid.IntRange(1, 16).Draw(rt, "in points")
			w.mu.Lock()
			w.dieIn = dieIn
			w.mu.Unlock()
		}),
		"stop": whileRunning(func(*rapid.T) { w.stop() }),
		"start": func(rt *rapid.T) {
			w.stop()
			w.start()
		},
		"upgrade": whileRunning(func(rt *rapid.T) {
			if err := w.upgrade(); err != nil && w.running() {
				rt.Skip(err)
			}
		}),
		"rotate": whileRunning(func(rt *rapid.T) {
			for range rapid.IntRange(1, 3).Draw(rt, "askers") {
				w.askRotate()
				synctest.Wait() // who asks now joins, unless the one before was answered
				if !w.running() {
					return
				}
			}
		}),
		"revoke": whileRunning(func(rt *rapid.T) {
			state := rapid.SampledFrom([]credential.State{
				credential.Pending, credential.Verified, credential.Active, credential.Retiring, credential.Revoked, "unknown", "all",
			}).Draw(rt, "what is")
			w.askRevoke(state)
		}),
		"look": whileRunning(func(rt *rapid.T) {
			r := w.rotator() // it may die of the first
			if rapid.Bool().Draw(rt, "repair") {
				r.Repair()
			}
			r.Kick()
		}),
		"hold": whileRunning(func(rt *rapid.T) { w.rotator().Hold(rapid.Bool().Draw(rt, "held")) }),
		"reload": whileRunning(func(rt *rapid.T) {
			w.cfg.Lifetime, w.cfg.RotateEvery = configure(rt)
			w.rotator().Configure(w.cfg)
		}),
		"store": func(rt *rapid.T) {
			w.fail(rapid.SampledFrom([]string{"put", "delete", "list"}).Draw(rt, "call"), rapid.SampledFrom([]fault{
				{},
				{takes: 50 * time.Millisecond},
				{takes: 3 * time.Second},
				{err: errStore},
				{err: errStore, applied: true},
				{takes: time.Second, err: errStore},
				{takes: forever, err: errStore},
				{takes: forever, applied: true},
			}).Draw(rt, "goes"))
		},
		"server": func(rt *rapid.T) {
			w.fail("allocate", rapid.SampledFrom([]fault{
				{},
				{takes: 20 * time.Millisecond},
				{accepts: true},
				{err: credential.ErrFull, applied: true},
				{err: credential.ErrDown},
				{err: credential.ErrRefused},
				{takes: 2 * time.Second, err: credential.ErrNoAnswer},
				{takes: forever, err: credential.ErrNoAnswer},
			}).Draw(rt, "goes"))
		},
		"disk": func(rt *rapid.T) {
			if rapid.Bool().Draw(rt, "works") {
				w.mount()
			} else {
				w.unmount()
			}
		},
		"vanish": func(rt *rapid.T) {
			one := rapid.Bool().Draw(rt, "only what is served")
			w.vanish(func(user string) bool { return !one || user == w.serving })
		},
		"lose state": func(rt *rapid.T) {
			w.stop()
			state := filepath.Join(w.disk, "credentials.json")
			if rapid.Bool().Draw(rt, "corrupt") {
				_ = os.WriteFile(state, []byte(`{"version":1,`), 0o600)
			} else {
				_ = os.Remove(state)
			}
			w.start()
		},
		"clock": func(rt *rapid.T) {
			w.mu.Lock()
			calls := w.calls
			w.mu.Unlock()
			if calls > 0 {
				// A step in the midst of a call would have to reach its local variables.
				rt.Skip("a call is under way")
			}
			step := time.Duration(rapid.Int64Range(-int64(lifetime), int64(lifetime)).Draw(rt, "step")).Truncate(time.Second)
			if err := w.setClock(step); err != nil {
				rt.Skip("no state to move the clock of")
			}
		},
		"": func(rt *rapid.T) {
			synctest.Wait()
			if err := w.check(); err != nil {
				rt.Fatal(err)
			}
		},
	})
	settle(rt, w, longest)
}

// settle heals the world and checks that all is well within bounded time.
func settle(rt *rapid.T, w *world, longest time.Duration) {
	w.heal()
	w.mu.Lock()
	w.dieIn, w.eager = 0, false
	w.mu.Unlock()
	synctest.Wait() // it may be dying
	if !w.running() {
		w.start()
	}
	w.rotator().Hold(false)
	// A call may hang for a step, then comes the longest back-off, then a reconciliation.
	w.pass(3*credential.StepTimeout + 45*time.Second + credential.ReconcileEvery)
	c, ok := w.fetch()
	if !ok {
		rt.Fatal("invariant 4: nothing is handed out in a healed world")
	}
	if w.ours()[c.Username] == "" {
		rt.Fatal("invariant 6: a vanished user was not added again")
	}
	state, err := w.read()
	if err != nil {
		rt.Fatal(err)
	}
	for _, g := range state.Generations {
		if g.State == credential.Revoked {
			rt.Fatal("invariant 10: a revoked user is not deleted in a healed world")
		}
		if g.State == credential.Retiring && w.held(g.Username) && w.ours()[g.Username] == "" {
			rt.Fatalf("invariant 6: a retiring user was not added again")
		}
	}
	kept := time.Until(time.UnixMilli(state.KeepUntilMS)) // however often the clock was set back
	w.pass(max(kept, 2*(longest+credential.Skew(longest))) + credential.ReconcileEvery)
	state, err = w.read()
	if err != nil {
		rt.Fatal(err)
	}
	for _, g := range state.Generations {
		if w.ours()[g.Username] != g.Password {
			rt.Fatalf("invariant 6: a %s generation has no user", g.State)
		}
	}
	if got, want := len(w.ours()), len(state.Generations); got != want {
		rt.Fatalf("invariant 5: %d users of ours in the store, %d on record", got, want)
	}
	if s := w.rotator().Status(); s.DeletesPending != 0 || s.Failure != "" {
		rt.Fatalf("a healed world reports %d pending deletes, failure %q", s.DeletesPending, s.Failure)
	}
	w.mu.Lock()
	w.asked[0] = true
	w.mu.Unlock()
	if _, err := w.rotator().Revoke(w.alive, 0, "operator", func(credential.Step) {}); err != nil || len(w.ours()) != 1 {
		rt.Fatalf("after a revocation of all there are %d users of ours: %v", len(w.ours()), err)
	}
	if err := w.check(); err != nil {
		rt.Fatal(err)
	}
}
