package sqlite

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/turnwarden/turnwarden/service/userdb"
)

// DB is the file with what can be asked of it.
type DB struct{ userdb.File }

// busyTimeout is how long sqlite3 waits for a lock; coturn's own driver does
// not wait at all.
const busyTimeout = 3 * time.Second

// change runs statements, the last of which reads back what the others changed.
func (db DB) change(ctx context.Context, statements string, want ...string) error {
	rows, err := db.sql(ctx, statements)
	if err != nil {
		return db.explain(ctx, err)
	}
	if !slices.Equal(rows, want) {
		return userdb.ErrUnchanged
	}
	return nil
}

// sql runs statements as one sqlite3 program and returns the rows they print.
// Of an error it keeps the first line: the next ones quote the statement, and
// with it a key.
func (db DB) sql(ctx context.Context, statements string) ([]string, error) {
	limited, cancel := context.WithTimeout(ctx, userdb.ProgramLimit)
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

// sqlite3 is the program with the database open. mode=rw: a file that is gone must not
// come back as an empty one. The init file replaces the ~/.sqliterc of whoever we run as.
func (db DB) sqlite3(ctx context.Context) *exec.Cmd {
	file := url.URL{Scheme: "file", Path: db.Path, RawQuery: "mode=rw"}
	return db.Command(ctx, "sqlite3", "-init", "/dev/null", "-batch", "-bail", "-noheader", file.String())
}

// explain turns what sqlite3 said into what to do about it.
func (db DB) explain(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	switch said := err.Error(); {
	case strings.Contains(said, "unable to open database"), strings.Contains(said, "readonly database"):
		// SQLite has one answer for the file and for its directory, and only
		// the uid in question can tell them apart.
		if err := db.checkDirectory(ctx); err != nil {
			return err
		}
		return fmt.Errorf("userdb %s cannot be read and written by uid %d: chown it to that uid, mode 0600", db.Path, db.UID())
	case strings.Contains(said, "file is not a database"):
		return fmt.Errorf("userdb %s is not an sqlite database: move the file away, a new one is then created, or correct userdb= in turnserver.conf", db.Path)
	case strings.Contains(said, "database is locked"):
		return fmt.Errorf("userdb %s is locked by another program for more than %v: end that program (fuser -v %[1]s names it)", db.Path, busyTimeout)
	case strings.Contains(said, "disk I/O error"), strings.Contains(said, "disk is full"):
		return fmt.Errorf("userdb %s: its disk is full or broken, make room: %w", db.Path, err)
	}
	return err
}
