package coturn_test

import (
	"bufio"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/stun/v4"

	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// store is what credential consumes.
type store interface {
	Put(ctx context.Context, username, password string) error
	Delete(ctx context.Context, username string) error
	List(ctx context.Context) ([]string, error)
}

var (
	_ store = (*coturn.Turnadmin)(nil)
	_ store = (*coturn.SQLite)(nil)
	_ store = (*coturn.Secrets)(nil)
)

func TestStores(t *testing.T) {
	userRows := rows{"turnusers_lt", "hmackey", "'alice', '00'", func(username, password string) string {
		return fmt.Sprintf("%x", md5.Sum([]byte(username+":"+realm+":"+password)))
	}}
	stores := map[string]struct {
		newStore func(db coturn.UserDB) store
		rows     rows
	}{
		"turnadmin": {func(db coturn.UserDB) store { return coturn.NewTurnadmin("turnadmin", db) }, userRows},
		"sqlite":    {func(db coturn.UserDB) store { return coturn.NewSQLite(db) }, userRows},
		"secrets": {
			func(db coturn.UserDB) store { return coturn.NewSecrets(db) },
			rows{"turn_secret", "value", "'turnwarden:alice:00'", coturn.SharedSecret},
		},
	}
	for name, tt := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testStore(t, tt.newStore, tt.rows)
		})
	}
}

// rows says where turnserver looks for what a store has stored.
type rows struct {
	table, column string
	other         string                             // a row but for its realm
	value         func(name, password string) string // of the column
}

// testStore is the contract that all stores keep, on the real programs.
func testStore(t *testing.T, newStore func(coturn.UserDB) store, r rows) {
	t.Run("put, replace, delete", func(t *testing.T) {
		db := preparedUserDB(t)
		s := newStore(db)
		sqlite(t, db.Path, "INSERT INTO "+r.table+" VALUES ('other.example.org', "+r.other+");")
		column := func(where string) string {
			return sqlite(t, db.Path, "SELECT "+r.column+" FROM "+r.table+" WHERE realm "+where+" '"+realm+"';")
		}
		before := column("<>")
		for _, password := range []string{"first", "second"} {
			check(t, s.Put(t.Context(), "alice", password))
			if got, want := column("="), r.value("alice", password); got != want {
				t.Errorf("%s %s, want %s", r.column, got, want)
			}
		}
		check(t, s.Put(t.Context(), "tw-0123456789-A.b_c", "x"))
		wantUsers(t, s, "alice", "tw-0123456789-A.b_c")
		for range 2 { // gone is gone
			check(t, s.Delete(t.Context(), "alice"))
		}
		wantUsers(t, s, "tw-0123456789-A.b_c")
		if got := column("<>"); got != before || got == "" {
			t.Errorf("another realm's row was %q and is %q", before, got)
		}
	})
	t.Run("20 in parallel", func(t *testing.T) {
		s := newStore(preparedUserDB(t))
		var all sync.WaitGroup
		var want []string
		for i := range 20 {
			name := fmt.Sprintf("user%02d", i)
			want = append(want, name)
			all.Go(func() {
				if err := s.Put(t.Context(), name, "secret"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		wantUsers(t, s, want...)
	})
	t.Run("refused words", func(t *testing.T) {
		s := newStore(preparedUserDB(t))
		for _, word := range []string{"", "-p", "two words", "it's", `"`, `\`, "a\nb", "ä", "x\x00", strings.Repeat("x", 129)} {
			if err := s.Put(t.Context(), word, "secret"); err == nil {
				t.Errorf("username %q accepted", word)
			}
			if err := s.Delete(t.Context(), word); err == nil {
				t.Errorf("username %q accepted by Delete", word)
			}
			if err := s.Put(t.Context(), "alice", word); err == nil {
				t.Errorf("password %q accepted", word)
			} else if len(word) > 2 && strings.Contains(err.Error(), word) {
				t.Errorf("password in %q", err)
			}
		}
		wantUsers(t, s)
	})
	// Under the first turnadmin stores nothing and says nothing.
	for journal, kind := range map[string]string{"wal": "IMMEDIATE", "delete": "EXCLUSIVE"} {
		t.Run("locked, "+journal, func(t *testing.T) {
			t.Parallel()
			db := preparedUserDB(t)
			s := newStore(db)
			check(t, s.Put(t.Context(), "bob", "secret"))
			sqlite(t, db.Path, "PRAGMA journal_mode="+journal+";")
			unlock := lock(t, db, kind)
			if err := s.Put(t.Context(), "alice", "s3cretword"); err == nil || !strings.Contains(err.Error(), db.Path+" is locked") || strings.Contains(err.Error(), "s3cretword") {
				t.Errorf("Put: %v, want the lock", err)
			}
			done := make(chan error, 2)
			go func() { done <- s.Put(t.Context(), "alice", "secret") }()
			go func() { done <- s.Delete(t.Context(), "bob") }()
			unlock()
			check(t, <-done)
			check(t, <-done)
			wantUsers(t, s, "alice")
		})
	}
	t.Run("not writable", func(t *testing.T) {
		t.Parallel()
		db := preparedUserDB(t)
		s := newStore(db)
		check(t, s.Put(t.Context(), "bob", "secret"))
		for _, path := range []string{db.Path, filepath.Dir(db.Path)} {
			chmod := func(mode os.FileMode) { check(t, os.Chmod(path, mode)) }
			if db.As != nil {
				check(t, os.Chown(path, 0, 0))
			}
			chmod(0o555)
			if err := s.Put(t.Context(), "alice", "secret"); err == nil || !strings.Contains(err.Error(), path+" ") || !strings.Contains(err.Error(), "by uid ") {
				t.Errorf("Put: %v, want %s", err, path)
			}
			if err := s.Delete(t.Context(), "bob"); err == nil || !strings.Contains(err.Error(), path+" ") {
				t.Errorf("Delete: %v, want %s", err, path)
			}
			chown(t, path, db)
			chmod(0o700)
			wantUsers(t, s, "bob")
		}
	})
	t.Run("gone", func(t *testing.T) {
		db := preparedUserDB(t)
		s := newStore(db)
		check(t, os.Remove(db.Path))
		if err := s.Put(t.Context(), "alice", "secret"); err == nil || !strings.Contains(err.Error(), db.Path) {
			t.Errorf("Put: %v", err)
		}
		if _, err := os.Stat(db.Path); err == nil {
			t.Error("a new file was made, which turnserver does not look at")
		}
	})
	t.Run("ctx ended", func(t *testing.T) {
		s := newStore(preparedUserDB(t))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Put(ctx, "alice", "secret"); !errors.Is(err, context.Canceled) {
			t.Errorf("Put: %v", err)
		}
		wantUsers(t, s)
	})
}

func wantUsers(t *testing.T, s store, want ...string) {
	t.Helper()
	got, err := s.List(t.Context())
	check(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("users -want +got:\n%s", diff)
	}
}

// lock holds a lock on the database until the returned function is called or
// the test ends.
func lock(t *testing.T, db coturn.UserDB, kind string) (unlock func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sqlite3", "-batch", db.Path)
	stdin, err := cmd.StdinPipe()
	check(t, err)
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	unlock = sync.OnceFunc(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	t.Cleanup(unlock)
	_, err = io.WriteString(stdin, ".timeout 5000\nBEGIN "+kind+";\nSELECT 'locked';\n")
	check(t, err)
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "locked\n" {
		t.Fatalf("lock: %q %v", line, err)
	}
	return unlock
}

// What turnadmin is seen to do wrong, no caller may take for success.
func TestTurnadminMisbehaves(t *testing.T) {
	tests := map[string]struct{ body, want string }{
		"lies":          {"exit 0", "store the user: the userdb does not show it afterwards"},
		"fails":         {"echo no luck >&2; exit 3", "store the user: turnadmin says: exit status 3"},
		"aborts":        {"kill -ABRT $$", "store the user: turnadmin says: signal: aborted"},
		"admits it":     {`echo "0: : ERROR: Wrong password: $*"`, "store the user: turnadmin says: Wrong password: -a -b %s -u *** -r " + realm + " -p ***"},
		"admits, rc 1":  {`echo "0: : ERROR: Cannot open"; exit 1`, "store the user: turnadmin says: Cannot open"},
		"wrong program": {"", "store the user: run turnadmin: fork/exec %s: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := preparedUserDB(t)
			program := script(t, "turnadmin", tt.body)
			want := fmt.Sprintf(strings.ReplaceAll(tt.want, "%s", "%[1]s"), db.Path)
			if tt.body == "" {
				check(t, os.WriteFile(program, []byte("\x7fELF"), 0o600))
				want = fmt.Sprintf(tt.want, program)
			} else if !strings.Contains(tt.want, "%s") {
				want = tt.want
			}
			s := coturn.NewTurnadmin(program, db)
			err := s.Put(t.Context(), "alice", "s3cretword")
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			wantUsers(t, s)
		})
	}

	t.Run("hangs", func(t *testing.T) {
		t.Parallel()
		db := preparedUserDB(t)
		dir := openTempDir(t)
		log := filepath.Join(dir, "turn_$$_2026-11-22.log")
		check(t, os.Chmod(dir, 0o777))
		// Like turnadmin, it has its log file open when it hangs, and what it
		// printed about that is still in its buffer.
		program := script(t, "turnadmin", "exec 9>"+log+"; sleep 1000 & echo $! >"+dir+"/child; echo $$ >"+dir+"/hangs; wait")
		s := coturn.NewTurnadmin(program, db)
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() { first <- s.Put(ctx, "alice", "s3cretword") }()
		realtest.Eventually(t, 10*time.Second, func() error { return hasLine(dir + "/hangs") })

		waiting, cancelWaiting := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancelWaiting()
		if err := s.Delete(waiting, "bob"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the second call: %v", err)
		}
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "s3cretword") {
			t.Errorf("the hanging call: %v", err)
		}
		if left, _ := filepath.Glob(dir + "/turn_*"); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
		child, err := os.ReadFile(dir + "/child")
		check(t, err)
		realtest.Eventually(t, 10*time.Second, func() error { return ended(strings.TrimSpace(string(child))) })
	})
}

func hasLine(path string) error {
	if text, err := os.ReadFile(path); err != nil || !strings.HasSuffix(string(text), "\n") {
		return fmt.Errorf("%s: %q %w", path, text, err)
	}
	return nil
}

// ended reports an error while the process is there and no zombie.
func ended(pid string) error {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err == nil && !strings.Contains(string(stat), ") Z ") {
		return fmt.Errorf("still there: %s", stat)
	}
	return nil
}

func TestTurnadminOutlastsALock(t *testing.T) {
	db := preparedUserDB(t)
	ran := filepath.Join(filepath.Dir(db.Path), "ran")
	s := coturn.NewTurnadmin(script(t, "turnadmin", "rm -f $(turnadmin \"$@\" | sed -n 's/.*log file opened: //p'); echo ran >>"+ran), db)
	unlock := lock(t, db, "IMMEDIATE")
	done := make(chan error, 1)
	go func() { done <- s.Put(t.Context(), "alice", "secret") }()
	realtest.Eventually(t, 10*time.Second, func() error { return hasLine(ran) })
	unlock()
	check(t, <-done)
	wantUsers(t, s, "alice")
	if text, err := os.ReadFile(ran); err != nil || string(text) != "ran\nran\n" {
		t.Errorf("turnadmin %q, %v; want two runs, the first in vain", text, err)
	}
}

// Each run of turnadmin leaves a log file in the first of these directories
// that it can write, and no option prevents that.
func TestTurnadminLeavesNoLogFile(t *testing.T) {
	db := preparedUserDB(t)
	pids := filepath.Join(filepath.Dir(db.Path), "pids")
	s := coturn.NewTurnadmin(script(t, "turnadmin", "echo $$ >>"+pids+"; exec turnadmin \"$@\""), db)
	check(t, s.Put(t.Context(), "alice", "secret"))
	check(t, s.Delete(t.Context(), "alice"))
	text, err := os.ReadFile(pids)
	check(t, err)
	ran := strings.Fields(string(text))
	if len(ran) < 2 {
		t.Fatalf("turnadmin ran as %v", ran)
	}
	for _, pid := range ran {
		for _, dir := range []string{"/var/log/turnserver", "/var/log", "/var/tmp", "/tmp", "."} {
			if left, _ := filepath.Glob(filepath.Join(dir, "turn_"+pid+"_*.log")); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		}
	}
}

// A sqlite3 that does nothing, and says so to nobody, has stored nothing.
func TestSQLiteLies(t *testing.T) {
	db := preparedUserDB(t)
	t.Setenv("PATH", filepath.Dir(script(t, "sqlite3", "exit 0"))+":"+os.Getenv("PATH"))
	for name, s := range map[string]store{"users": coturn.NewSQLite(db), "secrets": coturn.NewSecrets(db)} {
		if err := s.Put(t.Context(), "alice", "s3cretword"); err == nil || !strings.Contains(err.Error(), "does not show it afterwards") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Neither the password nor the key, which is as good, may be where every user
// of the host can read it.
func TestSQLiteShowsNoSecret(t *testing.T) {
	db := preparedUserDB(t)
	seen := filepath.Join(filepath.Dir(db.Path), "seen")
	sqlite3, err := exec.LookPath("sqlite3")
	check(t, err)
	spy := script(t, "sqlite3", "cat /proc/$$/cmdline /proc/$$/environ >>"+seen+"; exec "+sqlite3+" \"$@\"")
	t.Setenv("PATH", filepath.Dir(spy)+":"+os.Getenv("PATH"))
	for _, s := range []store{coturn.NewSQLite(db), coturn.NewSecrets(db)} {
		check(t, s.Put(t.Context(), "alice", "s3cretword"))
		check(t, s.Delete(t.Context(), "alice"))
	}
	text, err := os.ReadFile(seen)
	check(t, err)
	if !strings.Contains(string(text), db.Path) {
		t.Fatalf("the spy saw only %q", text)
	}
	key := fmt.Sprintf("%x", md5.Sum([]byte("alice:"+realm+":s3cretword")))
	if words := []string{"s3cretword", key, fmt.Sprintf("%x", "s3cretword")}; slices.ContainsFunc(words, func(w string) bool { return strings.Contains(string(text), w) }) {
		t.Errorf("a secret in %q", text)
	}
}

// TestOthersWords: every character that is accepted is taken as it stands by both stores
// and by turnserver, for other programs make users that look unlike ours.
func TestOthersWords(t *testing.T) {
	r := startRelay(t, coturn.ModeUser, "lt-cred-mech", realtest.FreePort(t, "127.0.0.1"), "cli")
	var all strings.Builder
	for c := '!'; c <= '~'; c++ {
		if !strings.ContainsRune("'\"`\\", c) {
			all.WriteRune(c)
		}
	}
	stores := map[string]store{"turnadmin": coturn.NewTurnadmin("turnadmin", r.db), "sqlite": coturn.NewSQLite(r.db)}
	for name, s := range stores {
		username, password := all.String(), all.String()
		check(t, s.Put(t.Context(), username, password))
		if err := newTurnClient(t, "udp", r.addr, username, password).allocate(0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		check(t, s.Delete(t.Context(), username))
		if err := newTurnClient(t, "udp", r.addr, username, password).allocate(stun.CodeUnauthorized); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wantUsers(t, s)
	}
}
