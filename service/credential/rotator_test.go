package credential_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/turnwarden/turnwarden/service/credential"
)

// What is handed out has at least lifetime - rotate_every left, with a store
// and a server that take their time, for many rotations and at the least values
// that the config takes.
func TestLeastValidityHandedOut(t *testing.T) {
	for name, tc := range map[string]struct{ lifetime, rotateEvery time.Duration }{
		"defaults":          {24 * time.Hour, 12 * time.Hour},
		"a minute":          {2 * time.Minute, time.Minute},
		"least values":      {2 * time.Second, time.Second},
		"hardly an overlap": {61 * time.Second, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, tc.lifetime, tc.rotateEvery)
				defer w.end()
				w.fail("put", fault{takes: 50 * time.Millisecond})
				w.fail("delete", fault{takes: 50 * time.Millisecond})
				w.fail("allocate", fault{takes: 5 * time.Millisecond})
				w.start()
				w.pass(time.Second)
				least := tc.lifetime
				for range 2000 {
					c := w.mustFetch(t)
					least = min(least, time.Until(c.Expires))
					w.pass(tc.rotateEvery / 97)
				}
				if least < tc.lifetime-tc.rotateEvery {
					t.Errorf("%v were left at least, want %v", least, tc.lifetime-tc.rotateEvery)
				}
				if n := w.rotator().Status().Active; n < 20 || n > 30 {
					t.Errorf("generation %d in the time of 20 rotations", n)
				}
				if err := w.check(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A store that takes its time is no reason for a late publication, either: what is to be
// published waits for nothing else.
func TestLeastValidityWithASlowStore(t *testing.T) {
	for _, op := range []string{"list", "delete"} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// The minute of reconciliations falls on each second before a publication.
				w := newWorld(t, time.Hour, 10*time.Minute+7*time.Second)
				defer w.end()
				w.fail(op, fault{takes: 8 * time.Second})
				w.start()
				w.pass(time.Minute)
				least := w.cfg.Lifetime
				for w.rotator().Status().Active < 60 {
					c := w.mustFetch(t)
					least = min(least, time.Until(c.Expires))
					w.pass(500 * time.Millisecond)
				}
				if least < w.cfg.Lifetime-w.cfg.RotateEvery {
					t.Errorf("%v were left at least, want %v", least, w.cfg.Lifetime-w.cfg.RotateEvery)
				}
				if err := w.check(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestAgeSurvivesRestart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		published := w.rotator().Status().Published
		w.pass(rotateEvery / 3)
		w.stop()
		w.pass(rotateEvery / 3)
		w.start()
		if s := w.rotator().Status(); s.Active != 1 || !s.Published.Equal(published) {
			t.Errorf("generation %d published %v, want 1 at %v", s.Active, s.Published, published)
		}
		w.pass(time.Until(published.Add(rotateEvery)) - 10*time.Second)
		if s := w.rotator().Status(); s.Active != 1 {
			t.Error("the restart brought the rotation forward")
		}
		w.pass(10 * time.Second)
		if s := w.rotator().Status(); s.Active != 2 {
			t.Error("the restart put the rotation off")
		}
	})
}

func TestAfterDowntime(t *testing.T) {
	for name, tc := range map[string]struct {
		down   time.Duration
		active uint64 // at once
		first  uint64 // while no rotation succeeds
	}{
		"short":                    {rotateEvery / 2, 1, 1},
		"longer than rotate_every": {rotateEvery + time.Minute, 2, 1},
		"longer than lifetime":     {lifetime + time.Minute, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.start()
				expires := w.mustFetch(t).Expires
				w.stop()
				w.pass(tc.down)
				w.fail("put", fault{err: errStore})
				w.start()
				if s := w.rotator().Status(); s.Active != tc.first || s.Active == 1 && !s.Expires.Equal(expires) {
					t.Errorf("generation %d is served until %v, want %d and what is left", s.Active, s.Expires, tc.first)
				}
				w.heal()
				w.rotator().Kick()
				w.pass(0)
				if s := w.rotator().Status(); s.Active != tc.active {
					t.Errorf("generation %d is active, want %d", s.Active, tc.active)
				}
			})
		})
	}
}

func TestFullIsAProof(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.fail("allocate", fault{err: fmt.Errorf("486 on 127.0.0.1: %w", credential.ErrFull), applied: true})
		w.start()
		w.mustFetch(t)
		w.pass(3 * rotateEvery)
		if got := w.mustFetch(t).Generation; got < 4 || w.failures.Value() != 0 {
			t.Errorf("generation %d after three rotations on a full server, %v failures", got, w.failures.Value())
		}
		w.stop()
		w.start()
		w.mustFetch(t) // a restored one, too
	})
}

func TestDownIsNoFailure(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.fail("allocate", fault{err: fmt.Errorf("child not started: %w", credential.ErrDown)})
		w.start()
		w.pass(10 * time.Minute)
		if w.failures.Value() != 0 || w.rotations.Value() != 0 || w.rotator().Status().Failure != "" {
			t.Errorf("waiting for the server counts as %v failures of %v rotations, %q", w.failures.Value(), w.rotations.Value(), w.rotator().Status().Failure)
		}
		if n := w.count("put"); n != 1 {
			t.Errorf("%d puts while waiting, want 1", n)
		}
		w.heal()
		w.rotator().Kick()
		w.pass(0)
		w.mustFetch(t) // at once, not after the back-off
	})
}

func TestRotationsAreCounted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		w.pass(2 * rotateEvery)
		if got := w.rotations.Value(); got != 3 || w.failures.Value() != 0 {
			t.Errorf("%v rotations, %v failures, want 3 and 0", got, w.failures.Value())
		}
		w.fail("put", fault{err: errStore})
		w.pass(rotateEvery)
		if w.failures.Value() == 0 || w.rotations.Value()-w.failures.Value() != 3 {
			t.Errorf("%v rotations, %v failures: each failure is a rotation, too", w.rotations.Value(), w.failures.Value())
		}
		if n := w.count("changed"); n != 3 {
			t.Errorf("told %d times that something changed, want 3", n)
		}
	})
}

// The userdb may have been replaced while we were down.
func TestRestoredButRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		want := w.mustFetch(t)
		w.stop()
		w.vanish(func(string) bool { return true })
		w.start()
		if got := w.mustFetch(t); got != want {
			t.Errorf("generation %d is served, want the restored one, added again", got.Generation)
		}
		if n := w.count("changed"); n != 2 {
			t.Errorf("told %d times that something changed, want at publication and restore", n)
		}
	})
}

// A failed proof of a restored generation is forgotten when the next succeeds.
func TestRestoreFailureIsCleared(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		w.stop()
		w.fail("allocate", fault{err: credential.ErrNoAnswer})
		w.start()
		w.pass(5 * time.Minute)
		if w.rotator().Status().Failure == "" {
			t.Fatal("no failure is reported")
		}
		w.heal()
		w.pass(time.Minute)
		if s := w.rotator().Status(); s.Active != 1 || s.Failure != "" {
			t.Errorf("generation %d is served and %q reported", s.Active, s.Failure)
		}
	})
}

// A rotation that failed half way goes on with the same generation.
func TestFailedRotationGoesOn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.fail("allocate", fault{err: credential.ErrNoAnswer})
		w.start()
		w.pass(5 * time.Minute)
		w.heal()
		w.pass(time.Minute)
		if got := w.mustFetch(t).Generation; got != 1 || w.count("put") != 1 {
			t.Errorf("generation %d after %d puts, want the first after one", got, w.count("put"))
		}
	})
}

func TestPeekIsNoClaim(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		w.rotator().Peek()
		if w.rotator().Status().Generations[0].Fetched {
			t.Error("our own probe counts as a client")
		}
		w.fetch()
		if !w.rotator().Status().Generations[0].Fetched {
			t.Error("a client does not count")
		}
	})
}

func TestHold(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		first := w.mustFetch(t)
		puts, proofs := w.count("put"), w.count("allocate")
		w.rotator().Hold(true)
		w.pass(lifetime - time.Second)
		if got := w.mustFetch(t); got != first || w.count("put") != puts || w.count("allocate") != proofs {
			t.Errorf("held: generation %d, %d puts, %d proofs; want %d, %d, %d", got.Generation, w.count("put"), w.count("allocate"), first.Generation, puts, proofs)
		}
		w.rotator().Hold(false)
		w.pass(0)
		if got := w.mustFetch(t); got.Generation != 2 {
			t.Errorf("generation %d after the hold, and the first was overdue", got.Generation)
		}
	})
}

// A node that is told other times promises these from its next generation on, keeps what
// it promised before, and never hands out one with less left than the times of now say.
func TestConfigure(t *testing.T) {
	for name, tc := range map[string]struct{ lifetime, every time.Duration }{
		"shorter": {20 * time.Minute, 10 * time.Minute},
		"longer":  {100 * time.Hour, 50 * time.Hour}, // none of the old times would live until the new rotation
		"often":   {lifetime, rotateEvery / 4},
		"rarely":  {lifetime, lifetime - time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.start()
				w.pass(rotateEvery / 2)
				before := w.mustFetch(t)
				w.cfg.Lifetime, w.cfg.RotateEvery = tc.lifetime, tc.every
				w.rotator().Configure(w.cfg)
				w.pass(time.Second)
				due := tc.every <= rotateEvery/2 || tc.lifetime > lifetime
				if c := w.mustFetch(t); (c.Generation != before.Generation) != due {
					t.Errorf("generation %d after %d, with half of the old time over", c.Generation, before.Generation)
				}
				if err := w.Allocate(t.Context(), before.Username, before.Password.Reveal()); err != nil {
					t.Errorf("what was promised for longer: %v", err)
				}
				for range 400 {
					if left, want := time.Until(w.mustFetch(t).Expires), tc.lifetime-tc.every; left < want {
						t.Fatalf("%v left, want %v", left, want)
					}
					w.pass(tc.every / 97)
				}
			})
		})
	}
}
