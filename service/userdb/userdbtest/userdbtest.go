// Package userdbtest has what the tests of all stores begin with: coturn's database on the
// real programs.
package userdbtest

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/userdb"
	"github.com/turnwarden/turnwarden/service/userdb/sqlite"
	"github.com/turnwarden/turnwarden/service/userdb/turnadmin"
)

// Realm is that of the users of every test.
const Realm = "turn.example.org"

// Store is what credential consumes.
type Store interface {
	Put(ctx context.Context, username, password string) error
	Delete(ctx context.Context, username string) error
	List(ctx context.Context) ([]string, error)
}

// NewFile names a database in a directory of its own. Tests that are run by
// root give turnserver another uid, as the packages do.
func NewFile(t *testing.T) userdb.File {
	t.Helper()
	realtest.Require(t, "turnadmin", "sqlite3", "turnserver")
	dir := TempDir(t)
	db := userdb.File{Path: filepath.Join(dir, "turndb"), Realm: Realm}
	if os.Getuid() == 0 {
		db.As = &syscall.Credential{Uid: 65534, Gid: 65534}
		Chown(t, dir, db)
	}
	return db
}

// Prepared has made the database, too.
func Prepared(t *testing.T) userdb.File {
	t.Helper()
	db := NewFile(t)
	Check(t, Prepare(t.Context(), db, "turnadmin"))
	return db
}

// Chown gives path to whom turnserver runs as.
func Chown(t *testing.T, path string, db userdb.File) {
	t.Helper()
	if db.As == nil {
		return
	}
	Check(t, os.Chown(path, int(db.As.Uid), int(db.As.Gid)))
}

// SQL runs statements as the test's own uid.
func SQL(t *testing.T, path, statements string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sqlite3", "-batch", "-bail", path)
	cmd.Stdin = strings.NewReader(".timeout 5000\n" + statements)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("sqlite3: %v: %s", err, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// TempDir is a TempDir that another uid can enter.
func TempDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, path := range []string{filepath.Dir(dir), dir} {
		Check(t, os.Chmod(path, 0o755))
	}
	return dir
}

// Script makes a program that stands in for turnadmin or sqlite3.
func Script(t *testing.T, name, body string) string {
	t.Helper()
	path := filepath.Join(TempDir(t), name)
	// No child of another test may be forked with this file open for writing:
	// to execute it would fail with ETXTBSY.
	syscall.ForkLock.RLock()
	err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o600)
	syscall.ForkLock.RUnlock()
	Check(t, err)
	Check(t, os.Chmod(path, 0o755))
	return path
}

// Check ends the test on an error.
func Check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// WantUsers wants these, and no others.
func WantUsers(t *testing.T, s Store, want ...string) {
	t.Helper()
	got, err := s.List(t.Context())
	Check(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("users -want +got:\n%s", diff)
	}
}

// Lock holds a lock on the database until the returned function is called or
// the test ends.
func Lock(t *testing.T, db userdb.File, kind string) (unlock func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sqlite3", "-batch", db.Path)
	stdin, err := cmd.StdinPipe()
	Check(t, err)
	stdout, err := cmd.StdoutPipe()
	Check(t, err)
	Check(t, cmd.Start())
	unlock = sync.OnceFunc(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	t.Cleanup(unlock)
	_, err = io.WriteString(stdin, ".timeout 5000\nBEGIN "+kind+";\nSELECT 'locked';\n")
	Check(t, err)
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "locked\n" {
		t.Fatalf("lock: %q %v", line, err)
	}
	return unlock
}

// Create makes the file with such content.
func Create(t *testing.T, db userdb.File, statements string) {
	t.Helper()
	Check(t, os.WriteFile(db.Path, nil, 0o600))
	Check(t, os.Chmod(db.Path, 0o644))
	if statements != "" {
		SQL(t, db.Path, statements)
	}
	Chown(t, db.Path, db)
}

// Prepare is what a start does, with the program in place of turnadmin.
func Prepare(ctx context.Context, file userdb.File, program string) error {
	if err := turnadmin.Check(program); err != nil {
		return err
	}
	return sqlite.DB{File: file}.Prepare(ctx, func(ctx context.Context) error { return turnadmin.Complete(ctx, program, file) })
}
