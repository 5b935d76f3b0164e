package credential_test

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/credential"
)

// transitionLine is one audit line, as a log collector reads it.
type transitionLine struct {
	Message    string           `json:"msg"`
	Generation uint64           `json:"generation"`
	To         credential.State `json:"to"`
	Reason     string           `json:"reason"`
	By         string           `json:"by"`
	Result     string           `json:"result"`
}

// audit returns the audit lines so far, and fails the test if their keys differ.
func (w *world) audit(t *testing.T) (lines []transitionLine) {
	t.Helper()
	for text := range strings.Lines(w.logged()) {
		var line transitionLine
		keys := map[string]any{}
		if json.Unmarshal([]byte(text), &line) != nil || json.Unmarshal([]byte(text), &keys) != nil {
			t.Fatalf("not JSON: %s", text)
		}
		if line.Message != "credential transition" {
			continue
		}
		want := []string{"by", "duration", "generation", "level", "msg", "reason", "result", "time", "to"}
		if line.Result == "failed" {
			want = append(want, "consequence", "err")
		}
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(keys)); !slices.Equal(got, want) {
			t.Errorf("keys %v, want %v", got, want)
		}
		line.Message = ""
		lines = append(lines, line)
	}
	return lines
}

func TestAuditLines(t *testing.T) {
	const us, operator = "turnwarden", "operator"
	inWorld(t, func(t *testing.T, w *world) {
		w.twoHeld(t)
		<-w.rotate(context.Background())
		_, _, _ = w.revoke(3)
		w.stop()
		w.start()
		w.fail("delete", fault{err: errStore})
		_, _, _ = w.revoke(2)
		w.heal()
		w.pass(time.Second)
		want := []transitionLine{
			{"", 1, "pending", "schedule", us, "ok"},
			{"", 1, "verified", "schedule", us, "ok"},
			{"", 1, "active", "schedule", us, "ok"},
			{"", 2, "pending", "schedule", us, "ok"},
			{"", 2, "verified", "schedule", us, "ok"},
			{"", 2, "active", "schedule", us, "ok"},
			{"", 1, "retiring", "schedule", us, "ok"},
			{"", 3, "pending", "request", operator, "ok"},
			{"", 3, "verified", "request", operator, "ok"},
			{"", 3, "active", "request", operator, "ok"},
			{"", 2, "retiring", "request", operator, "ok"},
			{"", 4, "pending", "revoke", operator, "ok"},
			{"", 4, "verified", "revoke", operator, "ok"},
			{"", 4, "active", "revoke", operator, "ok"},
			{"", 3, "retiring", "revoke", operator, "ok"},
			{"", 3, "revoked", "revoke", operator, "ok"},
			{"", 3, "deleted", "revoke", operator, "ok"},
			{"", 4, "active", "restored", us, "ok"},
			{"", 2, "revoked", "revoke", operator, "ok"},
			{"", 2, "deleted", "revoke", operator, "failed"},
			{"", 2, "deleted", "revoke", us, "failed"},
			{"", 2, "deleted", "revoke", us, "ok"},
		}
		if got := w.audit(t); !slices.Equal(got, want) {
			t.Errorf("got\n%v\nwant\n%v", got, want)
		}
		w.pass(2 * lifetime) // generation 1 and those after it expire
		if !slices.Contains(w.audit(t), transitionLine{"", 1, "deleted", "expired", us, "ok"}) {
			t.Error("the end of generation 1 has no line")
		}
	})
}

// Each transition has one line, and is counted once, done or failed.
func TestTransitionsAreCounted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		for _, state := range []credential.State{credential.Pending, credential.Verified, credential.Active, credential.Retiring, credential.Revoked, credential.Deleted} {
			_, all := w.transitions.of[string(state)]
			_, failed := w.transitionFailures.of[string(state)]
			if !all || !failed {
				t.Errorf("no series for %s from the start", state)
			}
		}
		for _, f := range []fault{{}, {err: errStore}, {err: credential.ErrRefused}, {err: credential.ErrDown}, {takes: forever}} {
			for _, op := range []string{"put", "allocate", "list", "delete", "disk"} {
				w.mustFetch(t)
				if w.fail(op, f); op == "disk" {
					w.unmount()
				}
				<-w.rotate(context.Background())
				_, _, _ = w.revoke(0)
				w.heal()
				w.pass(2 * time.Minute)
			}
		}
		_, _ = w.rotator().Revoke(w.alive, 0, "operator", func(credential.Step) { w.unmount() })
		w.heal()
		w.fail("allocate", fault{err: credential.ErrNoAnswer})
		w.stop()
		w.start() // with one that cannot be restored
		w.stop()
		all, failed := map[string]float64{}, map[string]float64{}
		for _, line := range w.audit(t) {
			all[string(line.To)]++
			if line.Result == "failed" {
				failed[string(line.To)]++
			}
		}
		for _, state := range []string{"pending", "verified", "active", "revoked", "deleted"} {
			if failed[state] == 0 || failed[state] == all[state] {
				t.Errorf("%v of %v transitions to %s failed: the world is too quiet", failed[state], all[state], state)
			}
		}
		for state, n := range w.transitions.of {
			if n != all[state] || w.transitionFailures.of[state] != failed[state] {
				t.Errorf("to %s: counted %v, failed %v; logged %v, failed %v", state, n, w.transitionFailures.of[state], all[state], failed[state])
			}
		}
	})
}

// That a restored generation cannot be proved is said, too, and what it means.
func TestFailedRestoreIsLogged(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start()
		w.stop()
		w.fail("allocate", fault{err: credential.ErrNoAnswer})
		w.start()
		if got := w.audit(t); got[len(got)-1] != (transitionLine{"", 1, "active", "restored", "turnwarden", "failed"}) {
			t.Errorf("the last line is %v", got[len(got)-1])
		}
		if !strings.Contains(w.logged(), "nothing is handed out") {
			t.Error("the log does not say what it means")
		}
	})
}
