package userdb_test

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pion/stun/v4"

	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/userdb"
	"github.com/turnwarden/turnwarden/service/userdb/sqlite"
	"github.com/turnwarden/turnwarden/service/userdb/turnadmin"
	"github.com/turnwarden/turnwarden/service/userdb/userdbtest"
)

func TestStores(t *testing.T) {
	userRows := rows{"turnusers_lt", "hmackey", "'alice', '00'", func(username, password string) string {
		return fmt.Sprintf("%x", md5.Sum([]byte(username+":"+userdbtest.Realm+":"+password)))
	}}
	stores := map[string]struct {
		newStore func(db userdb.File) userdbtest.Store
		rows     rows
	}{
		"turnadmin": {func(db userdb.File) userdbtest.Store { return turnadmin.New("turnadmin", db, sqlite.DB{File: db}) }, userRows},
		"sqlite":    {func(db userdb.File) userdbtest.Store { return sqlite.NewUsers(sqlite.DB{File: db}) }, userRows},
		"secrets": {
			func(db userdb.File) userdbtest.Store { return sqlite.NewSecrets(sqlite.DB{File: db}) },
			rows{"turn_secret", "value", "'turnwarden:alice:00'", userdb.SharedSecret},
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
func testStore(t *testing.T, newStore func(userdb.File) userdbtest.Store, r rows) {
	t.Run("put, replace, delete", func(t *testing.T) {
		db := userdbtest.Prepared(t)
		s := newStore(db)
		userdbtest.SQL(t, db.Path, "INSERT INTO "+r.table+" VALUES ('other.example.org', "+r.other+");")
		column := func(where string) string {
			return userdbtest.SQL(t, db.Path, "SELECT "+r.column+" FROM "+r.table+" WHERE realm "+where+" '"+userdbtest.Realm+"';")
		}
		before := column("<>")
		for _, password := range []string{"first", "second"} {
			userdbtest.Check(t, s.Put(t.Context(), "alice", password))
			if got, want := column("="), r.value("alice", password); got != want {
				t.Errorf("%s %s, want %s", r.column, got, want)
			}
		}
		userdbtest.Check(t, s.Put(t.Context(), "tw-0123456789-A.b_c", "x"))
		userdbtest.WantUsers(t, s, "alice", "tw-0123456789-A.b_c")
		for range 2 { // gone is gone
			userdbtest.Check(t, s.Delete(t.Context(), "alice"))
		}
		userdbtest.WantUsers(t, s, "tw-0123456789-A.b_c")
		if got := column("<>"); got != before || got == "" {
			t.Errorf("another realm's row was %q and is %q", before, got)
		}
	})
	t.Run("20 in parallel", func(t *testing.T) {
		s := newStore(userdbtest.Prepared(t))
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
		userdbtest.WantUsers(t, s, want...)
	})
	t.Run("refused words", func(t *testing.T) {
		s := newStore(userdbtest.Prepared(t))
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
		userdbtest.WantUsers(t, s)
	})
	// Under the first turnadmin stores nothing and says nothing.
	for journal, kind := range map[string]string{"wal": "IMMEDIATE", "delete": "EXCLUSIVE"} {
		t.Run("locked, "+journal, func(t *testing.T) {
			t.Parallel()
			db := userdbtest.Prepared(t)
			s := newStore(db)
			userdbtest.Check(t, s.Put(t.Context(), "bob", "secret"))
			userdbtest.SQL(t, db.Path, "PRAGMA journal_mode="+journal+";")
			unlock := userdbtest.Lock(t, db, kind)
			if err := s.Put(t.Context(), "alice", "s3cretword"); err == nil || !strings.Contains(err.Error(), db.Path+" is locked") || strings.Contains(err.Error(), "s3cretword") {
				t.Errorf("Put: %v, want the lock", err)
			}
			done := make(chan error, 2)
			go func() { done <- s.Put(t.Context(), "alice", "secret") }()
			go func() { done <- s.Delete(t.Context(), "bob") }()
			unlock()
			userdbtest.Check(t, <-done)
			userdbtest.Check(t, <-done)
			userdbtest.WantUsers(t, s, "alice")
		})
	}
	t.Run("not writable", func(t *testing.T) {
		t.Parallel()
		db := userdbtest.Prepared(t)
		s := newStore(db)
		userdbtest.Check(t, s.Put(t.Context(), "bob", "secret"))
		for _, path := range []string{db.Path, filepath.Dir(db.Path)} {
			chmod := func(mode os.FileMode) { userdbtest.Check(t, os.Chmod(path, mode)) }
			if db.As != nil {
				userdbtest.Check(t, os.Chown(path, 0, 0))
			}
			chmod(0o555)
			if err := s.Put(t.Context(), "alice", "secret"); err == nil || !strings.Contains(err.Error(), path+" ") || !strings.Contains(err.Error(), "by uid ") {
				t.Errorf("Put: %v, want %s", err, path)
			}
			if err := s.Delete(t.Context(), "bob"); err == nil || !strings.Contains(err.Error(), path+" ") {
				t.Errorf("Delete: %v, want %s", err, path)
			}
			userdbtest.Chown(t, path, db)
			chmod(0o700)
			userdbtest.WantUsers(t, s, "bob")
		}
	})
	t.Run("gone", func(t *testing.T) {
		db := userdbtest.Prepared(t)
		s := newStore(db)
		userdbtest.Check(t, os.Remove(db.Path))
		if err := s.Put(t.Context(), "alice", "secret"); err == nil || !strings.Contains(err.Error(), db.Path) {
			t.Errorf("Put: %v", err)
		}
		if _, err := os.Stat(db.Path); err == nil {
			t.Error("a new file was made, which turnserver does not look at")
		}
	})
	t.Run("ctx ended", func(t *testing.T) {
		s := newStore(userdbtest.Prepared(t))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Put(ctx, "alice", "secret"); !errors.Is(err, context.Canceled) {
			t.Errorf("Put: %v", err)
		}
		userdbtest.WantUsers(t, s)
	})
}

// TestOthersWords: every character that is accepted is taken as it stands by both stores
// and by turnserver, for other programs make users that look unlike ours.
func TestOthersWords(t *testing.T) {
	r := realtest.StartTurnServer(t, realtest.TurnOptions{})
	file := userdb.File{Path: r.Database, Realm: realtest.Realm}
	var all strings.Builder
	for c := '!'; c <= '~'; c++ {
		if !strings.ContainsRune("'\"`\\", c) {
			all.WriteRune(c)
		}
	}
	stores := map[string]userdbtest.Store{"turnadmin": turnadmin.New("turnadmin", file, sqlite.DB{File: file}), "sqlite": sqlite.NewUsers(sqlite.DB{File: file})}
	for name, s := range stores {
		username, password := all.String(), all.String()
		userdbtest.Check(t, s.Put(t.Context(), username, password))
		if err := realtest.NewTurnClient(t, "udp", r.Addr.String(), username, password).Allocate(0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		userdbtest.Check(t, s.Delete(t.Context(), username))
		if err := realtest.NewTurnClient(t, "udp", r.Addr.String(), username, password).Allocate(stun.CodeUnauthorized); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		userdbtest.WantUsers(t, s)
	}
}
