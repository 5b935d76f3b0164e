package credential_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/turnwarden/turnwarden/service/credential"
)

// TestInvariant10CrashInARevocation kills the process at each point of a revocation in
// turn, while clients fetch, and starts it again: what is on record as revoked is then
// deleted at once, and what is not is as good as ever.
func TestInvariant10CrashInARevocation(t *testing.T) {
	for name, id := range map[string]uint64{"active": 2, "all": 0} {
		t.Run(name, func(t *testing.T) {
			points, finished := 0, 0
			for died := true; died; points++ {
				inWorld(t, func(t *testing.T, w *world) {
					_, active := w.twoHeld(t)
					w.pass(rotateEvery - 30*time.Second) // a successor waits
					w.mu.Lock()
					w.eager, w.dieIn = true, points+1
					w.mu.Unlock()
					_, _, _ = w.revoke(id)
					if died = !w.running(); !died {
						return
					}
					w.start()
					w.mu.Lock()
					recorded := w.revoked[active.Username]
					w.mu.Unlock()
					if there := w.ours()[active.Username] != ""; there == recorded {
						t.Errorf("killed at point %d: revoked on record %v, and there after the restart %v", points, recorded, there)
					}
					if recorded {
						finished++
					}
					if got := w.mustFetch(t); recorded && got.Username == active.Username {
						t.Errorf("killed at point %d: the revoked generation is served again", points)
					}
				})
			}
			if points < 10 || finished < 3 || finished == points-1 {
				t.Errorf("%d points to die at, %d of them when the revocation was on record", points-1, finished)
			}
		})
	}
}

func TestInvariant10RevokedStaysGone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		retiring, active := w.twoHeld(t)
		w.fail("delete", fault{err: errStore})
		if _, _, err := w.revoke(0); err == nil {
			t.Fatal("no failure is told")
		}
		for range 3 {
			w.pass(5 * time.Minute)
			if n := w.rotator().Status().DeletesPending; n != 2 {
				t.Errorf("%d deletes are pending, want 2", n)
			}
			w.stop()
			w.start()
		}
		// Somebody else deletes one of them: it is not missed.
		w.vanish(func(user string) bool { return user == active.Username })
		w.rotator().Repair()
		w.pass(slack)
		if w.ours()[active.Username] != "" {
			t.Error("a revoked user was added again")
		}
		w.stop()
		w.heal()
		w.start()
		if w.ours()[retiring.Username] != "" || w.rotator().Status().DeletesPending != 0 {
			t.Error("a revoked user is there after a start in a healed world")
		}
	})
}

// What has expired waits while a successor is about to be published; what was revoked does not.
func TestInvariant10RevokedDoesNotWaitForTheSuccessor(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		retiring, active := w.twoHeld(t)
		w.pass(rotateEvery - 30*time.Second) // the successor is proved by now
		w.fail("delete", fault{err: errStore})
		_, _, _ = w.revoke(retiring.Generation)
		w.heal()
		w.pass(time.Second)
		if w.ours()[retiring.Username] != "" {
			t.Error("the revoked user waits for the successor")
		}
		if got := w.mustFetch(t); got != active {
			t.Errorf("generation %d is served: the test came too late", got.Generation)
		}
	})
}

// A revocation breaks promises; a rotation on request keeps them, whatever the clock says.
func TestInvariant8ClockStepAfterRequests(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		revoked, kept := w.twoHeld(t)
		if a := <-w.rotate(context.Background()); a.err != nil {
			t.Fatal(a.err)
		}
		synctest.Wait()
		end := kept.Expires
		if err := w.setClock(10 * lifetime); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.revoke(revoked.Generation); err != nil || w.ours()[revoked.Username] != "" {
			t.Errorf("a revocation after a clock step: %v", err)
		}
		w.pass(time.Until(end) - 1)
		if w.ours()[kept.Username] == "" {
			t.Error("a clock step cut a client off")
		}
		w.pass(credential.Skew(lifetime) + slack)
		if w.ours()[kept.Username] != "" {
			t.Error("the user is kept for ever")
		}
	})
}

// A hanging server keeps no second user alive: each is deleted before any is proved dead.
func TestRevokeDeletesBeforeItProves(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.twoHeld(t)
		var after time.Duration
		start, deleted := time.Now(), 0
		w.mu.Lock()
		w.asked[0] = true
		w.mu.Unlock()
		_, _ = w.rotator().Revoke(w.alive, 0, "operator", func(s credential.Step) {
			switch s.Name {
			case "successor":
				w.fail("allocate", fault{takes: forever, err: credential.ErrNoAnswer})
			case "delete":
				after, deleted = time.Since(start), deleted+1
			}
		})
		if deleted != 2 || after != 0 {
			t.Errorf("%d users were deleted after %v", deleted, after)
		}
	})
}
