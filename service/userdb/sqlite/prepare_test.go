package sqlite_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/turnwarden/turnwarden/service/userdb"
	"github.com/turnwarden/turnwarden/service/userdb/sqlite"
	"github.com/turnwarden/turnwarden/service/userdb/turnadmin"
	"github.com/turnwarden/turnwarden/service/userdb/userdbtest"
)

func TestPrepare(t *testing.T) {
	const tables = "SELECT count(*) FROM sqlite_master WHERE type = 'table';"
	tests := map[string]struct {
		before func(t *testing.T, db userdb.File)
		mode   os.FileMode
		users  string
	}{
		"new file":   {func(*testing.T, userdb.File) {}, 0o600, ""},
		"empty file": {func(t *testing.T, db userdb.File) { userdbtest.Create(t, db, "") }, 0o644, ""},
		"with a user and a rollback journal": {func(t *testing.T, db userdb.File) {
			userdbtest.Create(t, db, "")
			userdbtest.Check(t, turnadmin.New("turnadmin", db, sqlite.DB{File: db}).Put(t.Context(), "alice", "secret"))
			if mode := userdbtest.SQL(t, db.Path, "PRAGMA journal_mode;"); mode != "delete" {
				t.Fatalf("journal mode %s before", mode)
			}
		}, 0o644, "alice"},
		"three of eight tables": {func(t *testing.T, db userdb.File) {
			userdbtest.Create(t, db, "CREATE TABLE turnusers_lt (realm varchar(127) default '', name varchar(512), hmackey char(128), PRIMARY KEY (realm, name)); CREATE TABLE oauth_key (kid); CREATE TABLE admin_user (name); INSERT INTO turnusers_lt VALUES ('"+userdbtest.Realm+"', 'bob', '00');")
		}, 0o644, "bob"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			db := userdbtest.NewFile(t)
			tt.before(t, db)
			for range 2 { // the second time nothing is left to do
				userdbtest.Check(t, userdbtest.Prepare(t.Context(), db, "turnadmin"))
			}
			fi, err := os.Stat(db.Path)
			if err != nil {
				t.Fatal(err)
			}
			if fi.Mode() != tt.mode {
				t.Errorf("mode %v, want %v", fi.Mode(), tt.mode)
			}
			if owner := fi.Sys().(*syscall.Stat_t).Uid; db.As != nil && owner != db.As.Uid {
				t.Errorf("owned by uid %d", owner)
			}
			if mode := userdbtest.SQL(t, db.Path, "PRAGMA journal_mode;"); mode != "wal" {
				t.Errorf("journal mode %s", mode)
			}
			if n := userdbtest.SQL(t, db.Path, tables); n != "8" {
				t.Errorf("%s tables, want 8", n)
			}
			users := userdbtest.SQL(t, db.Path, "SELECT name FROM turnusers_lt;")
			if diff := cmp.Diff(tt.users, users); diff != "" {
				t.Errorf("users -want +got:\n%s", diff)
			}
		})
	}
}

// Each failure is one line with the path, the uid where it matters, and what
// to do; a file that the attempt created is gone again.
func TestPrepareRefuses(t *testing.T) {
	uid := fmt.Sprint(os.Getuid())
	if uid == "0" {
		uid = "65534"
	}
	chmod := func(t *testing.T, path string, mode os.FileMode) {
		if os.Getuid() == 0 {
			userdbtest.Check(t, os.Chown(path, 0, 0))
		}
		userdbtest.Check(t, os.Chmod(path, mode))
		t.Cleanup(func() { _ = os.Chmod(path, 0o700) })
	}
	prepare := func(t *testing.T, db userdb.File) {
		userdbtest.Check(t, userdbtest.Prepare(t.Context(), db, "turnadmin"))
	}
	tests := map[string]struct {
		turnadmin string
		path      string // below the directory
		before    func(t *testing.T, db userdb.File)
		want      string // %[1]s is the path, %[2]s its directory, %[3]s the uid
	}{
		"no turnadmin": {
			turnadmin: "/nonexistent/turnadmin",
			want:      `turnadmin cannot be run: exec: "/nonexistent/turnadmin": stat /nonexistent/turnadmin: no such file or directory: install the package coturn or set coturn.turnadmin to its path`,
		},
		"no sqlite3": {
			turnadmin: "/bin/true",
			before:    func(t *testing.T, _ userdb.File) { t.Setenv("PATH", t.TempDir()) },
			want:      `sqlite3 cannot be run: exec: "sqlite3": executable file not found in $PATH: install the package sqlite3`,
		},
		"no directory": {
			path: "missing/turndb",
			want: "directory %[2]s of the userdb does not exist: create it, owned by uid %[3]s",
		},
		"directory below a file": {
			path:   "file/turndb",
			before: func(t *testing.T, db userdb.File) { userdbtest.Create(t, userdb.File{Path: filepath.Dir(db.Path)}, "") },
			want:   "create userdb: open %[1]s: not a directory: correct userdb= in turnserver.conf",
		},
		"directory in place of the file": {
			before: func(t *testing.T, db userdb.File) {
				userdbtest.Check(t, os.Mkdir(db.Path, 0o700))
			},
			want: "userdb %[1]s is not a file (drwx------): give userdb= in turnserver.conf the path of a file",
		},
		"directory unwritable": {
			before: func(t *testing.T, db userdb.File) { chmod(t, filepath.Dir(db.Path), 0o555) },
			want:   "directory %[2]s of the userdb cannot be written by uid %[3]s, and SQLite keeps its -wal and -shm files there: chown it to that uid and let that pass the directories above, or move the userdb",
		},
		"directory unwritable, file there": {
			before: func(t *testing.T, db userdb.File) { prepare(t, db); chmod(t, filepath.Dir(db.Path), 0o555) },
			want:   "directory %[2]s of the userdb cannot be written by uid %[3]s, and SQLite keeps its -wal and -shm files there: chown it to that uid and let that pass the directories above, or move the userdb",
		},
		"file read-only": {
			before: func(t *testing.T, db userdb.File) { prepare(t, db); chmod(t, db.Path, 0o444) },
			want:   "userdb %[1]s cannot be read and written by uid %[3]s: chown it to that uid, mode 0600",
		},
		"file unreadable": {
			before: func(t *testing.T, db userdb.File) { prepare(t, db); chmod(t, db.Path, 0o000) },
			want:   "userdb %[1]s cannot be read and written by uid %[3]s: chown it to that uid, mode 0600",
		},
		"not a database": {
			before: func(t *testing.T, db userdb.File) {
				userdbtest.Create(t, db, "")
				userdbtest.Check(t, os.WriteFile(db.Path, []byte(strings.Repeat("user=alice:secret\n", 100)), 0o600))
			},
			want: "userdb %[1]s is not an sqlite database: move the file away, a new one is then created, or correct userdb= in turnserver.conf",
		},
		"another program's table": {
			before: func(t *testing.T, db userdb.File) {
				userdbtest.Create(t, db, "CREATE TABLE turnusers_lt (realm, name, hmackey);")
			},
			want: "userdb %[1]s lacks coturn's table turnusers_lt (realm, name, hmackey): move the file away, a new one is then created, or correct userdb= in turnserver.conf",
		},
		"turnadmin that does nothing": {
			turnadmin: "/bin/true",
			want:      "userdb %[1]s lacks coturn's table turnusers_lt (realm, name, hmackey): move the file away, a new one is then created, or correct userdb= in turnserver.conf",
		},
		"locked": {
			before: func(t *testing.T, db userdb.File) { prepare(t, db); userdbtest.Lock(t, db, "IMMEDIATE") },
			want:   "userdb %[1]s is locked by another program for more than 3s: end that program (fuser -v %[1]s names it)",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			db := userdbtest.NewFile(t)
			if tt.path != "" {
				db.Path = filepath.Join(filepath.Dir(db.Path), tt.path)
			}
			if tt.before != nil {
				tt.before(t, db)
			}
			_, missing := os.Lstat(db.Path)
			turnadmin := "turnadmin"
			if tt.turnadmin != "" {
				turnadmin = tt.turnadmin
			}
			err := userdbtest.Prepare(t.Context(), db, turnadmin)
			if err == nil {
				t.Fatal("accepted")
			}
			want := strings.NewReplacer("%[1]s", db.Path, "%[2]s", filepath.Dir(db.Path), "%[3]s", uid).Replace(tt.want)
			if diff := cmp.Diff(want, err.Error()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if files, _ := filepath.Glob(db.Path + "*"); missing != nil && len(files) != 0 {
				t.Errorf("left behind: %v", files)
			}
		})
	}
}
