package credential_test

import (
	"context"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/credential"
)

// The next image hands out at once what the one before did, though no server answers.
func TestResumeHandsOutAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		before := w.mustFetch(t)
		w.fail("allocate", fault{err: credential.ErrDown})
		for range 3 {
			w.pass(time.Minute)
			if err := w.upgrade(); err != nil {
				t.Fatal(err)
			}
			if after := w.mustFetch(t); after != before {
				t.Errorf("generation %d, want %d", after.Generation, before.Generation)
			}
		}
	})
}

// A successor that is proved and waits for its time is not given up, as it is by a
// restart.
func TestResumeWithSuccessor(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		w.mustFetch(t)
		w.pass(rotateEvery - credential.Lead(rotateEvery) + time.Second)
		if states := states(w); states != "active verified" {
			t.Fatalf("generations are %s", states)
		}
		if err := w.upgrade(); err != nil {
			t.Fatal(err)
		}
		if states := states(w); states != "active verified" {
			t.Errorf("after an upgrade generations are %s", states)
		}
		w.pass(credential.Lead(rotateEvery))
		if c := w.mustFetch(t); c.Generation != 2 {
			t.Errorf("generation %d follows, want 2", c.Generation)
		}
	})
}

func states(w *world) (text string) {
	for i, g := range w.rotator().Status().Generations {
		if i > 0 {
			text += " "
		}
		text += string(g.State)
	}
	return text
}

// What a clock that was set must not cut short, an upgrade does not cut short either.
func TestResumeAfterClockStep(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		c := w.mustFetch(t)
		if err := w.setClock(2 * lifetime); err != nil {
			t.Fatal(err)
		}
		if err := w.upgrade(); err != nil {
			t.Fatal(err)
		}
		w.pass(lifetime - time.Minute)
		if w.ours()[c.Username] == "" {
			t.Error("deleted before a lifetime has passed")
		}
	})
}

func TestPause(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		resume, err := w.rotator().Pause(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		calls := w.count("put") + w.count("list") + w.count("allocate")
		impatient, cancel := context.WithTimeout(t.Context(), 2*rotateEvery)
		defer cancel()
		if _, err := w.rotator().Pause(impatient); err == nil {
			t.Error("a second pause in the first")
		}
		if now := w.count("put") + w.count("list") + w.count("allocate"); now != calls {
			t.Errorf("%d calls in a pause", now-calls)
		}
		resume()
		w.pass(time.Second)
		if c := w.mustFetch(t); c.Generation != 2 {
			t.Errorf("after the pause generation %d is served, want 2", c.Generation)
		}
		w.stop()
	})
}
