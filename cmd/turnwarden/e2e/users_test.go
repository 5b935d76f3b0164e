package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/userdb"
	"github.com/turnwarden/turnwarden/service/userdb/sqlite"
	"github.com/turnwarden/turnwarden/service/userdb/turnadmin"
	"github.com/turnwarden/turnwarden/service/userdb/userdbtest"
)

// monitored is a host whose userdb a hand-rolled monitor has filled, through turnadmin,
// and never cleaned: it deleted without -b.
func monitored(t *testing.T, writer string) (h *host, old seed) {
	t.Helper()
	h = newHost(t, options{set: map[string]string{
		"credentials.userdb": writer, "credentials.lifetime": "20s", "credentials.rotate_every": "10s",
	}})
	old = seed{UserID: "monitor-3", Password: "Zm9v+/" + writer + "=="}
	db := userdb.File{Path: filepath.Join(h.dir, "turndb"), Realm: realtest.Realm}
	if err := userdbtest.Prepare(t.Context(), db, "turnadmin"); err != nil {
		t.Fatal(err)
	}
	store := turnadmin.New("turnadmin", db, sqlite.DB{File: db}) // but for its log files, which the monitor left behind, too
	for user, password := range map[string]string{"monitor-1": "one", "monitor-2": "two", old.UserID: old.Password, "alice": "hers"} {
		if err := store.Put(t.Context(), user, password); err != nil {
			t.Fatal(err)
		}
	}
	return h, old
}

// leave writes ./credential as the monitor does when it is stopped.
func (h *host) leave(t *testing.T, s seed) (path string) {
	t.Helper()
	path = filepath.Join(h.dir, "credential")
	h.write(t, path, fmt.Sprintf(`{"userid" : "%s", "password" : "%s", "expired_time" : %d}`, s.UserID, s.Password, s.ExpiredTime))
	return path
}

// users is the first column of turnwarden users list.
func (h *host) users(t *testing.T) (names []string) {
	t.Helper()
	out, code := h.ask(t, "users", "list")
	if code != 0 {
		t.Fatalf("users list: %d\n%s", code, out)
	}
	for line := range strings.Lines(out) {
		names = append(names, strings.Fields(line)[0])
	}
	return names
}

// neverInArguments looks at the arguments of all processes until the test is over.
func neverInArguments(t *testing.T, password string) {
	t.Helper()
	stop, looked := make(chan struct{}), make(chan int)
	go func() {
		tick := time.NewTicker(2 * time.Millisecond) // for the sake of the machine; turnadmin takes 17 ms
		defer tick.Stop()
		for looks := 1; ; looks++ {
			for _, a := range arguments() {
				if strings.Contains(a, password) {
					t.Errorf("a password is in the arguments of a process: %s", strings.ReplaceAll(a, "\x00", " "))
				}
			}
			select {
			case <-stop:
				looked <- looks
				return
			case <-tick.C:
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		t.Logf("looked %d times", <-looked)
	})
}

// TestMigration: the credential that a hand-rolled monitor has handed out works until its
// expiry and is deleted then; what else it left behind is deleted when it is named, and
// nothing of ours whatever is named.
func TestMigration(t *testing.T) {
	t.Parallel()
	for _, userdb := range []string{"turnadmin", "sqlite"} {
		t.Run(userdb, func(t *testing.T) {
			t.Parallel()
			h, old := monitored(t, userdb)
			h.serve(t)
			neverInArguments(t, old.Password)
			old.ExpiredTime = time.Now().Add(30 * time.Second).UnixMilli()
			file := h.leave(t, old)
			if out, code := h.ask(t, "import", file); code != 0 || !strings.Contains(out, "prove ") || !strings.Contains(out, "record ") {
				t.Fatalf("import: %d\n%s", code, out)
			}
			if out, code := h.ask(t, "import", file); code != 1 || !strings.Contains(out, "already") {
				t.Errorf("import again: %d\n%s", code, out)
			}
			serves(t, h, old, 10*time.Second)

			// Named or not, what is ours stays.
			if out, code := h.answer(t, "no\n", "users", "prune", "*"); code != 1 || !strings.Contains(out, "Delete 3 users?") || !strings.Contains(out, "nothing is deleted") {
				t.Errorf("prune, no: %d\n%s", code, out)
			}
			prune := h.client("users", "prune", "*")
			unheard, keyboard, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer unheard.Close()
			defer keyboard.Close()
			prune.Stdin = unheard
			question := begin(t, prune)
			question.said(t, "Type yes: ")
			_ = prune.Process.Signal(os.Interrupt)
			if out, code := question.ends(t, 20*time.Second); code != 1 || !strings.Contains(out, "nothing is deleted") {
				t.Errorf("prune, Ctrl-C: %d\n%s", code, out)
			}
			if out, code := h.ask(t, "users", "prune"); code != 2 || !strings.Contains(out, "found no pattern") || !strings.Contains(out, "alice ") {
				t.Errorf("prune without a pattern: %d\n%s", code, out)
			}
			if out, code := h.answer(t, "yes\n", "users", "prune", "monitor-*"); code != 0 || !strings.Contains(out, "deleted 2 of 2 users") {
				t.Errorf("prune monitor-*: %d\n%s", code, out)
			}
			names := h.users(t)
			// On a machine that is starved this one's time may be over by now.
			if !slices.Contains(names, old.UserID) && time.Now().Before(old.expires()) {
				t.Errorf("%s is gone: %v", old.UserID, names)
			}
			if !slices.Contains(names, "alice") {
				t.Errorf("alice is gone: %v", names)
			}
			if slices.Contains(names, "monitor-1") || slices.Contains(names, "monitor-2") {
				t.Errorf("left behind: %v", names)
			}
			if out, code := h.ask(t, "users", "prune", "--yes", "*"); code != 0 || !strings.Contains(out, "deleted 1 of 1 user\n") {
				t.Errorf("prune *: %d\n%s", code, out)
			}
			current := mustFetch(t, h.rest())
			serves(t, h, current, 10*time.Second)
			if time.Until(old.expires()) > 5*time.Second {
				serves(t, h, old, 4*time.Second)
			}
			realtest.Eventually(t, time.Minute, func() error {
				if slices.Contains(h.users(t), old.UserID) {
					return errors.New("still there")
				}
				return nil
			})
			if time.Now().Before(old.expires()) {
				t.Error("deleted before its expiry")
			}
			if _, err := probe.Allocate(t.Context(), h.addr(), old.UserID, old.Password); !errors.Is(err, probe.ErrRefused) {
				t.Errorf("after its end: %v, want a refusal", err)
			}
			noSecretsInSight(t, h, old.Password)
		})
	}
}
