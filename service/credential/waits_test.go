package credential_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/turnwarden/turnwarden/service/credential"
)

// What has expired waits for a proved successor that is about to be published, and for no
// other: a user that should be gone still works.
func TestExpiredIsDeletedWhileASuccessorWaits(t *testing.T) {
	failed := func(t *testing.T, w *world) {
		w.mu.Lock()
		w.breaksAt = `"to":"verified"`
		w.mu.Unlock()
		if a := <-w.rotate(context.Background()); a.err == nil {
			t.Fatal("a publication that is not on record succeeded")
		}
	}
	for name, tc := range map[string]struct {
		second time.Duration // when the second generation is published
		waits  func(t *testing.T, w *world)
	}{
		"turnserver takes no new call": {2*time.Hour + 30*time.Second, func(_ *testing.T, w *world) { w.rotator().Hold(true) }},
		"one publication has failed":   {3 * time.Hour, func(t *testing.T, w *world) { failed(t, w); w.breaksAt = ""; w.heal() }},
		"the disk does not work":       {3 * time.Hour, failed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 6*time.Hour, 4*time.Hour)
				defer w.end()
				w.start()
				first := w.mustFetch(t)
				w.pass(tc.second)
				if a := <-w.rotate(context.Background()); a.err != nil {
					t.Fatal(a.err)
				}
				w.mustFetch(t)
				w.pass(time.Until(first.Expires))
				tc.waits(t, w)
				if s := states(w); s != "retiring active verified" {
					t.Fatalf("generations are %s", s)
				}
				w.pass(credential.Skew(w.cfg.Lifetime) + slack)
				if w.ours()[first.Username] != "" {
					t.Errorf("an expired user is there %v after its expiry, generations are %s", time.Since(first.Expires), states(w))
				}
				w.breaksAt = ""
				w.heal()
				w.rotator().Hold(false)
				w.pass(2 * time.Hour)
				if active := w.rotator().Status().Active; active != 3 {
					t.Errorf("in a healed world generation %d is active, want 3", active)
				}
				if err := w.check(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
