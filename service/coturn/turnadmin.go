package coturn

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Turnadmin stores users with coturn's own tool, which exits 0 on almost every
// failure and takes the password as an argument, readable in /proc for the
// 20 ms of its run. What it did is therefore read back with sqlite3, and calls
// wait for each other: of 20 parallel ones 2 stored their row (coturn 4.6.1).
type Turnadmin struct {
	path string
	db   UserDB
	turn chan struct{} // holds one element while a call runs; unlike a mutex it can be waited for with a ctx
}

// NewTurnadmin returns the store that runs the program at path.
func NewTurnadmin(path string, db UserDB) *Turnadmin {
	return &Turnadmin{path: path, db: db, turn: make(chan struct{}, 1)}
}

// Put stores a user, or replaces the password of one.
func (t *Turnadmin) Put(ctx context.Context, username, password string) error {
	if err := CheckUser(username, password); err != nil {
		return err
	}
	want := []string{t.db.key(username, password)}
	if err := t.change(ctx, username, want, "-a", "-b", t.db.Path, "-u", username, "-r", t.db.Realm, "-p", password); err != nil {
		return fmt.Errorf("store the user: %w", err)
	}
	return nil
}

// Delete removes a user; it is no error if there is none. Without -b turnadmin
// would clean /var/lib/turn/turndb, exit 0, and leave the user alive here.
func (t *Turnadmin) Delete(ctx context.Context, username string) error {
	if err := checkLogin("username", username); err != nil {
		return err
	}
	if err := t.change(ctx, username, nil, "-d", "-b", t.db.Path, "-u", username, "-r", t.db.Realm); err != nil {
		return fmt.Errorf("delete the user: %w", err)
	}
	return nil
}

// List returns the names of all users of the realm. It asks sqlite3, because
// turnadmin -l mixes names and log lines on one stream.
func (t *Turnadmin) List(ctx context.Context) ([]string, error) { return t.db.list(ctx) }

// change runs turnadmin until the user's keys are as wanted, a few times.
func (t *Turnadmin) change(ctx context.Context, username string, want []string, args ...string) error {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return fmt.Errorf("wait for the turnadmin before this one: %w", ctx.Err())
	}
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.Multiplier = 50*time.Millisecond, 2
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		// turnadmin would make a new file where turnserver still has the old one open.
		if _, err := os.Stat(t.db.Path); err != nil {
			return struct{}{}, backoff.Permanent(fmt.Errorf("userdb is gone: %w: restart turnserver to have a new one", err))
		}
		said, err := t.db.turnadmin(ctx, t.path, args...)
		if err != nil {
			return struct{}{}, backoff.Permanent(err)
		}
		failure := t.judge(ctx, said, username, want)
		if failure == nil {
			return struct{}{}, nil
		}
		// turnadmin waits for no lock and keeps most causes to itself; sqlite3
		// waits, and tells whether trying again can help.
		if cause := t.db.writable(ctx); cause != nil {
			return struct{}{}, backoff.Permanent(cause)
		}
		return struct{}{}, failure
	}, backoff.WithBackOff(pause), backoff.WithMaxTries(5))
	return err
}

// judge believes turnadmin only where it admits a failure.
func (t *Turnadmin) judge(ctx context.Context, said, username string, want []string) error {
	if said != "" {
		return fmt.Errorf("turnadmin says: %s", said)
	}
	keys, err := t.db.sql(ctx, "SELECT hmackey "+t.db.row(username))
	if err != nil {
		return err
	}
	if !slices.Equal(keys, want) {
		return errUnchanged
	}
	return nil
}

// turnadmin runs the program once and returns the failure it admitted, if any;
// an error means that it did not run to its end. The log file that every run
// opens is removed: no option suppresses it, up to coturn 4.17.1.
func (db UserDB) turnadmin(ctx context.Context, program string, args ...string) (said string, err error) {
	limited, cancel := context.WithTimeout(ctx, programLimit)
	defer cancel()
	cmd := db.command(limited, program, args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	var logs []string
	kill := cmd.Cancel
	cmd.Cancel = func() error {
		logs = openFiles(cmd.Process.Pid) // what it printed is lost: it flushes at exit only
		return kill()
	}
	err = cmd.Run()
	if cmd.Process == nil {
		return "", fmt.Errorf("run turnadmin: %w", err)
	}
	for line := range strings.Lines(output.String()) {
		message := string(ParseLine([]byte(line)).Message)
		if path, ok := strings.CutPrefix(message, "log file opened: "); ok {
			logs = append(logs, path)
		}
		if said == "" && strings.Contains(line, "ERROR") {
			said = message
		}
	}
	for _, path := range logs {
		if ours, _ := filepath.Match(fmt.Sprintf("turn_%d_*.log", cmd.Process.Pid), filepath.Base(path)); ours {
			_ = os.Remove(path)
		}
	}
	if limited.Err() != nil {
		return "", fmt.Errorf("turnadmin was killed: %w", limited.Err())
	}
	if err != nil && said == "" {
		said = err.Error()
	}
	// "Wrong password: " is followed by the arguments.
	if i := slices.Index(args, "-p"); i >= 0 {
		said = strings.ReplaceAll(said, args[i+1], "***")
	}
	if i := slices.Index(args, "-u"); i >= 0 {
		said = strings.ReplaceAll(said, "-u "+args[i+1], "-u ***")
	}
	return said, nil
}

// openFiles returns what the process has open, as far as we may know.
func openFiles(pid int) []string {
	var paths []string
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, link := range links {
		if path, err := os.Readlink(link); err == nil {
			paths = append(paths, path)
		}
	}
	return paths
}
