package credential_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/turnwarden/turnwarden/service/credential"
)

const (
	lifetime    = time.Hour
	rotateEvery = 30 * time.Minute
	slack       = credential.ReconcileEvery + time.Second
)

// inWorld runs f in a world of its own, and looks at the invariants at every
// point and at the end.
func inWorld(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lifetime, rotateEvery)
		defer w.end()
		f(t, w)
		if err := w.check(); err != nil {
			t.Error(err)
		}
	})
}

// mustFetch is a client that needs a credential.
func (w *world) mustFetch(t *testing.T) credential.Credential {
	t.Helper()
	c, ok := w.fetch()
	if !ok {
		t.Fatal("nothing is handed out")
	}
	return c
}

// TestInvariant1OneActiveOneUsable kills the process at each point of its first
// two rotations in turn, with clients fetching at every one of them, and starts
// it again.
func TestInvariant1OneActiveOneUsable(t *testing.T) {
	points := 0
	for died := true; died; points++ {
		inWorld(t, func(t *testing.T, w *world) {
			w.start()
			w.mu.Lock()
			w.eager, w.dieIn = true, points+1
			w.mu.Unlock()
			w.pass(lifetime + rotateEvery)
			if died = !w.running(); !died {
				return
			}
			w.start()
			if w.mustFetch(t); w.rotator().Status().Active == 0 {
				t.Errorf("killed at point %d: nothing is active", points)
			}
		})
	}
	if points < 30 {
		t.Errorf("only %d points were found to die at", points)
	}
}

func TestInvariant2NotBeforeProof(t *testing.T) {
	for name, answer := range map[string]error{
		"down": credential.ErrDown, "no answer": credential.ErrNoAnswer, "refused": credential.ErrRefused,
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.fail("allocate", fault{err: answer})
				w.start()
				w.pass(10 * time.Minute)
				if _, ok := w.fetch(); ok {
					t.Fatal("handed out at the first start without a proof")
				}
				w.heal()
				w.pass(time.Minute)
				want := w.mustFetch(t)

				w.stop()
				w.fail("allocate", fault{err: answer})
				w.start()
				if _, ok := w.fetch(); ok {
					t.Fatal("a restored generation is handed out without a proof by this process")
				}
				if answer == credential.ErrRefused {
					return // then a successor is due, see TestRestoredButRefused
				}
				w.pass(time.Minute)
				w.heal()
				asked := w.count("allocate")
				w.pass(time.Minute)
				if got := w.mustFetch(t); got != want {
					t.Errorf("generation %d is served after the restart, want %d", got.Generation, want.Generation)
				}
				if n := w.count("allocate") - asked; n != 1 {
					t.Errorf("a restored generation took %d proofs, want 1", n)
				}
			})
		})
	}
}

func TestInvariant3ExistsUntilItsExpiry(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		c := w.mustFetch(t)
		// Rotations, restarts, a row added again: nothing shortens its life.
		w.pass(rotateEvery)
		if got := w.mustFetch(t); got.Generation == c.Generation {
			t.Fatal("no rotation took place")
		}
		w.stop()
		w.start()
		w.vanish(func(user string) bool { return user == c.Username })
		w.rotator().Repair()
		w.pass(time.Until(c.Expires) - 1)
		if w.ours()[c.Username] != c.Password.Reveal() {
			t.Error("the user was deleted before the expiry")
		}
		w.pass(credential.Skew(lifetime) - time.Millisecond)
		if w.ours()[c.Username] == "" {
			t.Error("the user was deleted before the skew was over")
		}
		w.pass(slack)
		if w.ours()[c.Username] != "" {
			t.Error("the user outlives its expiry and the skew")
		}
	})
}

func TestInvariant3UnfetchedIsDeletedAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		c, _ := w.rotator().Peek()
		w.pass(rotateEvery)
		if w.ours()[c.Username] != "" {
			t.Error("a user that nobody was given is kept")
		}
		if n := len(w.ours()); n != 1 {
			t.Errorf("%d users in the store, want the active one", n)
		}
	})
}

func TestInvariant4FailureKeepsServing(t *testing.T) {
	for name, f := range map[string]func(w *world){
		"put fails":               func(w *world) { w.fail("put", fault{err: errStore}) },
		"put works and says no":   func(w *world) { w.fail("put", fault{err: errStore, applied: true}) },
		"put hangs":               func(w *world) { w.fail("put", fault{takes: forever}) },
		"server does not answer":  func(w *world) { w.fail("allocate", fault{err: credential.ErrNoAnswer}) },
		"server hangs":            func(w *world) { w.fail("allocate", fault{takes: forever}) },
		"server refuses":          func(w *world) { w.fail("allocate", fault{err: credential.ErrRefused}) },
		"state cannot be written": func(w *world) { w.unmount() },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.start()
				first := w.mustFetch(t)
				f(w)
				w.pass(time.Until(first.Expires) - 1)
				if got := w.mustFetch(t); got != first {
					t.Errorf("generation %d is served", got.Generation)
				}
				if w.rotator().Status().Failure == "" || w.failures.Value() == 0 {
					t.Error("neither status nor metric says that rotation fails")
				}
				if !strings.Contains(w.logged(), "still serving generation 1, valid for 29m") {
					t.Error("the log does not say what a failure means")
				}
				w.pass(time.Minute)
				if _, ok := w.fetch(); ok {
					t.Error("something is handed out after the expiry, without a successor")
				}
				if !strings.Contains(w.logged(), "nothing is handed out") {
					t.Error("the log does not say that clients get nothing")
				}
				w.heal()
				w.pass(time.Minute)
				if got := w.mustFetch(t); got == first || w.rotator().Status().Failure != "" {
					t.Errorf("after healing generation %d is served, failure %q", got.Generation, w.rotator().Status().Failure)
				}
			})
		})
	}
}

func TestInvariant5FailedDeletesAreNotLost(t *testing.T) {
	for name, f := range map[string]fault{
		"fails": {err: errStore}, "hangs": {takes: forever, err: errStore},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.start()
				first := w.mustFetch(t)
				w.fail("delete", f)
				w.pass(lifetime + 10*time.Minute)
				for range 3 {
					if w.rotator().Status().DeletesPending == 0 {
						t.Error("status does not say that a delete is pending")
					}
					w.stop()
					w.start()
					// A restart forgets the monotonic clock, and waits for the skew again.
					w.pass(5 * time.Minute)
				}
				if !strings.Contains(w.logged(), "a user that should be gone still works") {
					t.Error("the log does not say what the failure means")
				}
				if tries := w.count("delete"); tries < 20 {
					t.Errorf("%d tries in 25 minutes", tries)
				}
				w.heal()
				w.pass(time.Minute)
				if w.ours()[first.Username] != "" || w.rotator().Status().DeletesPending != 0 {
					t.Error("the delete was lost")
				}
			})
		})
	}
}

func TestInvariant7SingleFlight(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, op := range []string{"put", "allocate", "list", "delete"} {
			w.fail(op, fault{takes: time.Second})
		}
		w.start()
		var askers sync.WaitGroup
		for range 50 {
			askers.Go(func() {
				for range 20 {
					w.rotator().Kick()
					w.rotator().Repair()
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		askers.Wait()
		w.pass(time.Minute)
		if puts, proofs := w.count("put"), w.count("allocate"); puts != 1 || proofs != 1 {
			t.Errorf("1000 requests led to %d puts and %d proofs, want one rotation", puts, proofs)
		}
	})
}

func TestInvariant8ClockSetForwardDeletesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		c := w.mustFetch(t)
		end := c.Expires
		if err := w.setClock(10 * lifetime); err != nil {
			t.Fatal(err)
		}
		if _, ok := w.fetch(); ok {
			t.Error("a credential that has expired by the wall clock is handed out")
		}
		w.pass(slack)
		if got := w.mustFetch(t); got.Generation == c.Generation {
			t.Error("no successor was made")
		}
		w.pass(time.Until(end) - 1)
		if w.ours()[c.Username] == "" {
			t.Error("a clock step cut a client off")
		}
		w.pass(credential.Skew(lifetime) + slack)
		if w.ours()[c.Username] != "" {
			t.Error("the user is kept for ever")
		}
	})
}

func TestInvariant8ClockSetBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		c := w.mustFetch(t)
		if err := w.setClock(-10 * lifetime); err != nil {
			t.Fatal(err)
		}
		w.pass(slack)
		got := w.mustFetch(t)
		if got.Generation == c.Generation || time.Until(got.Expires) > lifetime {
			t.Errorf("generation %d is handed out, good for %v by the clock", got.Generation, time.Until(got.Expires))
		}
		w.pass(2 * lifetime)
		if w.ours()[c.Username] == "" {
			t.Error("deleted while its expiry lies ahead by the wall clock")
		}
		w.pass(10 * lifetime)
		if w.ours()[c.Username] != "" {
			t.Error("the user is kept for ever")
		}
	})
}

// TestInvariant9NoPasswordIsSeen looks for every password that the store ever
// was given in all that comes out of a rotator with a troubled life.
func TestInvariant9NoPasswordIsSeen(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		passwords := map[string]bool{}
		var said strings.Builder
		for _, f := range []fault{{}, {err: errStore}, {err: credential.ErrRefused}, {takes: forever}} {
			w.stop()
			w.start()
			for _, op := range []string{"put", "allocate", "list", "delete"} {
				w.fail(op, f)
				w.pass(rotateEvery)
				fmt.Fprintf(&said, "%+v %#v\n", w.rotator().Status(), w.rotator().Status())
				for _, password := range w.ours() {
					passwords[password] = true
				}
				c, _ := w.fetch()
				fmt.Fprintf(&said, "%+v\n", c)
				fmt.Fprintln(&said, <-w.rotate(context.Background()))
				for _, id := range []uint64{c.Generation, 0} {
					w.mu.Lock()
					w.asked[id] = true
					w.mu.Unlock()
					usernames, err := w.rotator().Revoke(w.alive, id, "operator", func(s credential.Step) { fmt.Fprintf(&said, "%+v\n", s) })
					fmt.Fprintf(&said, "%+v %v\n", usernames, err)
				}
				w.heal()
				w.pass(time.Minute)
			}
		}
		said.WriteString(w.logged())
		if len(passwords) < 5 {
			t.Fatalf("only %d passwords were seen in the store", len(passwords))
		}
		for password := range passwords {
			if strings.Contains(said.String(), password) {
				t.Error("a password shows in a log line or status")
			}
		}
	})
}
