package sqlite_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/userdb"
	"github.com/turnwarden/turnwarden/service/userdb/sqlite"
	"github.com/turnwarden/turnwarden/service/userdb/userdbtest"
)

// TestKeeperKilled: a connection that is lost is made again, and none is left in the end.
func TestKeeperKilled(t *testing.T) {
	t.Parallel()
	db := sqlite.DB{File: userdb.File{Path: t.TempDir() + "/turndb", Realm: realtest.Realm}}
	realtest.Require(t, "turnadmin", "sqlite3")
	if err := userdbtest.Prepare(t.Context(), db.File, "turnadmin"); err != nil {
		t.Fatal(err)
	}
	stop := keep(t, db)
	first := keepers(t, db)
	if len(first) != 1 {
		t.Fatalf("sqlite3 runs as %v, want one", first)
	}
	if err := syscall.Kill(first[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	realtest.Eventually(t, 20*time.Second, func() error {
		if now := keepers(t, db); len(now) != 1 || now[0] == first[0] {
			return fmt.Errorf("sqlite3 runs as %v, ran as %v", now, first)
		}
		return nil
	})
	stop()
	if left := keepers(t, db); len(left) > 0 {
		t.Errorf("sqlite3 is left running: %v", left)
	}
}

// TestKeeperRefuses: a database that cannot be kept is an error that says which.
func TestKeeperRefuses(t *testing.T) {
	t.Parallel()
	realtest.Require(t, "sqlite3")
	path := t.TempDir() + "/none"
	_, err := sqlite.DB{File: userdb.File{Path: path}}.Keep(t.Context(), slog.New(slog.DiscardHandler))
	if err == nil || err.Error() != fmt.Sprintf("userdb %s cannot be read and written by uid %d: chown it to that uid, mode 0600", path, syscall.Getuid()) {
		t.Error(err)
	}
}

func keep(t *testing.T, db sqlite.DB) (stop func()) {
	t.Helper()
	k, err := db.Keep(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = k.Run(ctx)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(stop)
	return stop
}

// keepers are the sqlite3 programs that have the database open.
func keepers(t *testing.T, db sqlite.DB) (pids []int) {
	t.Helper()
	procs, err := procfs.AllProcs()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		args, err := p.CmdLine()
		if err == nil && slices.Contains(args, "file://"+db.Path+"?mode=rw") {
			pids = append(pids, p.PID)
		}
	}
	return pids
}
