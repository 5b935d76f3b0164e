package coturn

import (
	"bytes"
	"context"
	"crypto/md5" // RFC 8489 section 9.2.2 defines the long-term key with it.
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// busyTimeout is how long sqlite3 waits for a lock; coturn's own driver does
// not wait at all.
const busyTimeout = 3 * time.Second

// SQLite stores users by writing coturn's own row with the sqlite3 program, SQL
// on its stdin: no password and no key is ever in an argument list. A running
// turnserver sees the row at its next request.
type SQLite struct{ db UserDB }

// NewSQLite returns the store of db's users that needs no turnadmin.
func NewSQLite(db UserDB) *SQLite { return &SQLite{db: db} }

// Put stores a user, or replaces the password of one.
func (s *SQLite) Put(ctx context.Context, username, password string) error {
	if err := CheckUser(username, password); err != nil {
		return err
	}
	key := s.db.key(username, password)
	insert := fmt.Sprintf("INSERT OR REPLACE INTO turnusers_lt (realm, name, hmackey) VALUES (%s, %s, '%s');", quote(s.db.Realm), quote(username), key)
	if err := s.db.change(ctx, insert+"SELECT hmackey "+s.db.row(username), key); err != nil {
		return fmt.Errorf("store the user: %w", err)
	}
	return nil
}

// Delete removes a user; it is no error if there is none.
func (s *SQLite) Delete(ctx context.Context, username string) error {
	if err := checkLogin("username", username); err != nil {
		return err
	}
	if err := s.db.change(ctx, "DELETE "+s.db.row(username)+"SELECT hmackey "+s.db.row(username)); err != nil {
		return fmt.Errorf("delete the user: %w", err)
	}
	return nil
}

// List returns the names of all users of the realm.
func (s *SQLite) List(ctx context.Context) ([]string, error) { return s.db.list(ctx) }

// change runs statements, the last of which reads back what the others changed.
func (db UserDB) change(ctx context.Context, statements string, want ...string) error {
	rows, err := db.sql(ctx, statements)
	if err != nil {
		return db.explain(ctx, err)
	}
	if !slices.Equal(rows, want) {
		return errUnchanged
	}
	return nil
}

// errUnchanged is what reading back found, whatever the writer claimed. A full
// disk is the one cause that a look at the database does not show.
var errUnchanged = errors.New("the userdb does not show it afterwards: is its disk full?")

func (db UserDB) list(ctx context.Context) ([]string, error) {
	names, err := db.sql(ctx, fmt.Sprintf("SELECT name FROM turnusers_lt WHERE realm = %s ORDER BY name;", quote(db.Realm)))
	if err != nil {
		return nil, fmt.Errorf("list users: %w", db.explain(ctx, err))
	}
	return names, nil
}

// key is what turnserver compares instead of the password. A row without one
// (NULL) crashes coturn 4.6.1 at the first login.
func (db UserDB) key(username, password string) string {
	return fmt.Sprintf("%x", md5.Sum([]byte(username+":"+db.Realm+":"+password)))
}

// row names the one row of a user in an SQL statement.
func (db UserDB) row(username string) string {
	return fmt.Sprintf("FROM turnusers_lt WHERE realm = %s AND name = %s;", quote(db.Realm), quote(username))
}

// sql runs statements as one sqlite3 program and returns the rows they print.
// Of an error it keeps the first line: the next ones quote the statement, and
// with it a key.
func (db UserDB) sql(ctx context.Context, statements string) ([]string, error) {
	limited, cancel := context.WithTimeout(ctx, programLimit)
	defer cancel()
	cmd := db.sqlite3(limited)
	cmd.Stdin = strings.NewReader(fmt.Sprintf(".timeout %d\n%s\n", busyTimeout.Milliseconds(), statements))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if limited.Err() != nil {
			return nil, fmt.Errorf("sqlite3 was killed: %w", limited.Err())
		}
		if said, _, _ := strings.Cut(stderr.String(), "\n"); said != "" {
			return nil, fmt.Errorf("sqlite3 on %s: %s", db.Path, said)
		}
		return nil, fmt.Errorf("sqlite3 on %s: %w", db.Path, err)
	}
	if stdout.Len() == 0 {
		return nil, nil
	}
	return strings.Split(strings.TrimSuffix(stdout.String(), "\n"), "\n"), nil
}

// quote writes s as an SQL text that no content can break out of.
func quote(s string) string { return fmt.Sprintf("CAST(x'%x' AS TEXT)", s) }

// CheckUser says whether a Put of both could be tried. Its error quotes neither.
func CheckUser(username, password string) error {
	if err := checkLogin("username", username); err != nil {
		return err
	}
	return checkLogin("password", password)
}

// sqlite3 is the program with the database open. mode=rw: a file that is gone must not
// come back as an empty one. The init file replaces the ~/.sqliterc of whoever we run as.
func (db UserDB) sqlite3(ctx context.Context) *exec.Cmd {
	file := url.URL{Scheme: "file", Path: db.Path, RawQuery: "mode=rw"}
	return db.command(ctx, "sqlite3", "-init", "/dev/null", "-batch", "-bail", "-noheader", file.String())
}
