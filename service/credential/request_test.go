package credential_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/turnwarden/turnwarden/service/credential"
)

// answer is what a Rotate in the background came to.
type answer struct {
	generation uint64
	err        error
}

// rotate asks in the background, and returns when the request is under way.
func (w *world) rotate(ctx context.Context) <-chan answer {
	answers, r := make(chan answer, 1), w.rotator()
	go func() {
		done, err := r.Rotate(ctx, "operator")
		generation := done.Generation
		answers <- answer{generation, err}
	}()
	synctest.Wait()
	return answers
}

// revoke asks, and waits until the rotator rests. It returns the steps as "name generation", with a ! when the
// step failed.
func (w *world) revoke(id uint64) (usernames, steps []string, err error) {
	w.mu.Lock()
	w.asked[id] = true
	w.mu.Unlock()
	usernames, err = w.rotator().Revoke(w.alive, id, "operator", func(s credential.Step) {
		line := fmt.Sprintf("%s %d", s.Name, s.Generation)
		if s.Err != nil {
			line += "!"
		}
		steps = append(steps, line)
	})
	synctest.Wait() // the rotator tidies up before it rests
	return usernames, steps, err
}

// twoHeld starts a world in which clients hold generation 1, which is retiring, and
// generation 2, which is active.
func (w *world) twoHeld(t *testing.T) (retiring, active credential.Credential) {
	t.Helper()
	w.start()
	retiring = w.mustFetch(t)
	w.pass(rotateEvery)
	active = w.mustFetch(t)
	if retiring.Generation != 1 || active.Generation != 2 {
		t.Fatalf("generations %d and %d, want 1 and 2", retiring.Generation, active.Generation)
	}
	return retiring, active
}

func TestInvariant7WhoAsksMeanwhileJoins(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		old := w.mustFetch(t)
		w.fail("allocate", fault{takes: time.Second})
		first := w.rotate(context.Background())
		second := w.rotate(context.Background())
		time.Sleep(time.Second / 2)
		third := w.rotate(context.Background())
		for i, asked := range []<-chan answer{first, second, third} {
			if a := <-asked; a != (answer{2, nil}) {
				t.Errorf("request %d: generation %d (%v), want 2", i+1, a.generation, a.err)
			}
		}
		if w.count("put") != 2 || w.rotations.Value() != 2 {
			t.Errorf("three requests led to %d puts and %v rotations more", w.count("put")-1, w.rotations.Value()-1)
		}
		if a := <-w.rotate(context.Background()); a != (answer{3, nil}) {
			t.Errorf("a later request: generation %d (%v), want 3", a.generation, a.err)
		}
		if w.ours()[old.Username] == "" {
			t.Error("a rotation on request cut a client off")
		}
	})
}

// A rotation on request takes the successor that waits, and puts the next on the
// schedule off.
func TestRotateKeepsToTheSchedule(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		w.pass(rotateEvery - 30*time.Second) // its successor is proved by now
		if a := <-w.rotate(context.Background()); a != (answer{2, nil}) {
			t.Errorf("generation %d (%v), want the one that waits", a.generation, a.err)
		}
		w.pass(rotateEvery - 10*time.Second)
		if s := w.rotator().Status(); s.Active != 2 {
			t.Errorf("generation %d is active before the rotation is due", s.Active)
		}
		w.pass(10 * time.Second)
		if s := w.rotator().Status(); s.Active != 3 {
			t.Errorf("generation %d is active, want 3", s.Active)
		}
	})
}

func TestWhoJoinedOutlivesTheFirst(t *testing.T) {
	for name, takes := range map[string]time.Duration{"under way": 5 * time.Second, "ended before it began": 9 * time.Second} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.start()
				w.fail("list", fault{takes: takes})
				w.fail("put", fault{takes: time.Second})
				if name != "under way" {
					w.rotator().Repair() // keeps the rotator busy
					synctest.Wait()
				}
				ctx, cancel := context.WithCancel(context.Background())
				first := w.rotate(ctx)
				second := w.rotate(context.Background())
				cancel()
				if a := <-first; !errors.Is(a.err, context.Canceled) || !strings.Contains(a.err.Error(), "it goes on") {
					t.Errorf("the first is told: %v", a.err)
				}
				if a := <-second; a != (answer{2, nil}) {
					t.Errorf("the second got generation %d (%v), want 2", a.generation, a.err)
				}
			})
		})
	}
}

func TestFailedRotateIsToldToAll(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		old := w.mustFetch(t)
		w.fail("put", fault{takes: time.Second, err: errStore})
		first, second := w.rotate(context.Background()), w.rotate(context.Background())
		for _, asked := range []<-chan answer{first, second} {
			if a := <-asked; !errors.Is(a.err, errStore) || a.generation != 0 {
				t.Errorf("generation %d, %v", a.generation, a.err)
			}
		}
		if w.failures.Value() != 1 {
			t.Errorf("%v failures, want 1", w.failures.Value())
		}
		if got := w.mustFetch(t); got != old {
			t.Errorf("generation %d is served", got.Generation)
		}
		w.heal()
		if a := <-w.rotate(context.Background()); a != (answer{2, nil}) {
			t.Errorf("afterwards: generation %d (%v), want to go on with 2", a.generation, a.err)
		}
	})
}

func TestRequestsWhileStopping(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		old, r := w.mustFetch(t), w.rotator()
		w.fail("put", fault{takes: forever})
		first, joined := w.rotate(context.Background()), w.rotate(context.Background())
		revoked := make(chan error)
		go func() {
			_, err := r.Revoke(context.Background(), 1, "operator", func(credential.Step) {})
			revoked <- err
		}()
		synctest.Wait()
		w.stopRun()
		for _, asked := range []<-chan answer{first, joined, w.rotate(context.Background())} {
			if a := <-asked; !errors.Is(a.err, credential.ErrStopping) || a.generation != 0 {
				t.Errorf("while stopping: generation %d, %v", a.generation, a.err)
			}
		}
		if err := <-revoked; !errors.Is(err, credential.ErrStopping) {
			t.Errorf("revoke while stopping: %v", err)
		}
		<-w.done
		for range 2 {
			if done, err := r.Rotate(context.Background(), "operator"); !errors.Is(err, credential.ErrStopping) || done.Generation != 0 {
				t.Errorf("after the end: generation %d, %v", done.Generation, err)
			}
		}
		if _, err := r.Revoke(context.Background(), 1, "operator", nil); !errors.Is(err, credential.ErrStopping) {
			t.Errorf("revoke after the end: %v", err)
		}
		// Our own stop is no failure.
		if n := w.failures.Value() + w.transitionFailures.of["verified"]; n != 0 || strings.Contains(w.logged(), `"level":"ERROR"`) {
			t.Errorf("the stop counts as %v failures:\n%s", n, w.logged())
		}
		w.stop()
		w.heal()
		w.start()
		if got := w.mustFetch(t); got != old {
			t.Errorf("generation %d is served after the restart", got.Generation)
		}
	})
}

func TestRevokeReportsItsSteps(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(w *world)
		id      uint64
		want    string
		active  uint64
	}{
		"active":   {func(*world) {}, 2, "successor 3, delete 2, refused 2", 3},
		"retiring": {func(*world) {}, 1, "delete 1, refused 1", 2},
		"all":      {func(*world) {}, 0, "successor 3, delete 1, delete 2, refused 1, refused 2", 3},
		"pending": {func(w *world) {
			w.fail("allocate", fault{err: credential.ErrNoAnswer})
			<-w.rotate(context.Background())
			w.heal()
		}, 3, "delete 3, refused 3", 2},
		"active, a successor waits":   {func(w *world) { w.pass(rotateEvery - 30*time.Second) }, 2, "successor 3, delete 2, refused 2", 3},
		"the successor that waits":    {func(w *world) { w.pass(rotateEvery - 30*time.Second) }, 3, "delete 3, refused 3", 2},
		"all, with one that waits":    {func(w *world) { w.pass(rotateEvery - 30*time.Second) }, 0, "successor 4, delete 1, delete 2, delete 3, refused 1, refused 2, refused 3", 4},
		"all, after a failed request": {func(w *world) { w.unmount(); <-w.rotate(context.Background()); w.mount() }, 0, "successor 3, delete 1, delete 2, refused 1, refused 2", 3},
		"one whose deletion failed": {func(w *world) {
			w.fail("delete", fault{err: errStore})
			_, _, _ = w.revoke(1)
			w.pass(time.Minute)
			w.heal()
		}, 1, "delete 1, refused 1", 2},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.twoHeld(t)
				tc.prepare(w)
				before := w.ours()
				usernames, steps, err := w.revoke(tc.id)
				if got := strings.Join(steps, ", "); got != tc.want || err != nil {
					t.Errorf("%s (%v), want %s", got, err, tc.want)
				}
				for user := range before {
					named, there := slices.Contains(usernames, user), w.ours()[user] != ""
					if named == there {
						t.Errorf("%s is named %v, and is there %v", user, named, there)
					}
				}
				if got := w.mustFetch(t).Generation; got != tc.active {
					t.Errorf("generation %d is served, want %d", got, tc.active)
				}
			})
		})
	}
}

func TestRevokeUnknown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.twoHeld(t)
		before := w.ours()
		usernames, steps, err := w.revoke(7)
		if err == nil || !strings.Contains(err.Error(), "no generation 7 is on record") || len(steps)+len(usernames) != 0 {
			t.Errorf("%v %v, %v", usernames, steps, err)
		}
		if len(w.ours()) != len(before) {
			t.Error("a user is gone")
		}
	})
}

func TestRevokeWithoutSuccessorRevokesNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		f    func(w *world)
		want error // nil: any
	}{
		"the store fails":        {func(w *world) { w.fail("put", fault{err: errStore}) }, errStore},
		"the store hangs":        {func(w *world) { w.fail("put", fault{takes: forever}) }, context.DeadlineExceeded},
		"the server is down":     {func(w *world) { w.fail("allocate", fault{err: credential.ErrDown}) }, credential.ErrDown},
		"the server is silent":   {func(w *world) { w.fail("allocate", fault{err: credential.ErrNoAnswer}) }, credential.ErrNoAnswer},
		"the server refuses":     {func(w *world) { w.fail("allocate", fault{err: credential.ErrRefused}) }, credential.ErrRefused},
		"the disk does not work": {func(w *world) { w.unmount() }, nil},
	} {
		for _, id := range []uint64{0, 2} {
			t.Run(fmt.Sprintf("%s, generation %d", name, id), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					retiring, active := w.twoHeld(t)
					tc.f(w)
					usernames, steps, err := w.revoke(id)
					if err == nil || !strings.Contains(err.Error(), "nothing that was handed out is revoked") || tc.want != nil && !errors.Is(err, tc.want) {
						t.Errorf("it says %v", err)
					}
					if got := strings.Join(steps, ", "); got != "successor 0!" || usernames != nil {
						t.Errorf("steps %q, usernames %v", got, usernames)
					}
					w.pass(5 * time.Minute)
					if got := w.mustFetch(t); got != active {
						t.Errorf("generation %d is served", got.Generation)
					}
					for _, c := range []credential.Credential{retiring, active} {
						if w.ours()[c.Username] == "" {
							t.Errorf("the user of generation %d is gone", c.Generation)
						}
					}
					w.heal()
					if _, _, err := w.revoke(id); err != nil || w.ours()[active.Username] != "" {
						t.Errorf("once more in a healed world: %v", err)
					}
				})
			})
		}
	}
}

// The disk fails when the successor is already published.
func TestRevokeThatCannotBeRecordedTakesNothingAway(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, active := w.twoHeld(t)
		usernames, err := w.rotator().Revoke(w.alive, 2, "operator", func(credential.Step) { w.unmount() })
		if err == nil || usernames != nil || w.ours()[active.Username] == "" {
			t.Errorf("usernames %v, %v", usernames, err)
		}
		if got := w.mustFetch(t).Generation; got != 3 {
			t.Errorf("generation %d is served, want the successor", got)
		}
		w.heal()
	})
}

func TestRevokeSaysWhatFailed(t *testing.T) {
	for name, tc := range map[string]struct {
		op    string
		f     fault
		steps string
		says  string
	}{
		"the store fails":               {"delete", fault{err: errStore}, "delete 1!, refused 1!", errStore.Error()},
		"the store hangs":               {"delete", fault{takes: forever, err: errStore}, "delete 1!, refused 1!", "deadline"},
		"the server remembers the user": {"allocate", fault{accepts: true}, "delete 1, refused 1!", "generation 1 is still accepted"},
		"full, after authentication":    {"allocate", fault{err: credential.ErrFull, applied: true}, "delete 1, refused 1", ""},
		"full, and it still accepts":    {"allocate", fault{err: credential.ErrFull}, "delete 1, refused 1!", "generation 1 is still accepted"},
		"the server is down":            {"allocate", fault{err: credential.ErrDown}, "delete 1, refused 1!", credential.ErrDown.Error()},
		"the server is silent":          {"allocate", fault{err: credential.ErrNoAnswer}, "delete 1, refused 1!", credential.ErrNoAnswer.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				retiring, active := w.twoHeld(t)
				w.fail(tc.op, tc.f)
				usernames, steps, err := w.revoke(1)
				if got := strings.Join(steps, ", "); got != tc.steps {
					t.Errorf("steps %q, want %q", got, tc.steps)
				}
				if !slices.Equal(usernames, []string{retiring.Username}) {
					t.Errorf("%v is told, for its sessions are to be ended whatever failed", usernames)
				}
				if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
					t.Errorf("it says %v, want %q", err, tc.says)
				}
				if got := w.mustFetch(t); got != active {
					t.Errorf("generation %d is served: a revocation of a retiring one mints no successor", got.Generation)
				}
				w.heal()
				w.pass(time.Minute) // the longest back-off
				if w.ours()[retiring.Username] != "" || w.rotator().Status().DeletesPending != 0 {
					t.Error("the revoked user is still there in a healed world")
				}
			})
		})
	}
}
