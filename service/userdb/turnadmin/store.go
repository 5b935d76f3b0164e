package turnadmin

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/turnwarden/turnwarden/service/userdb"
)

// Store stores users with coturn's own tool, which exits 0 on almost every
// failure and takes the password as an argument, readable in /proc for the
// 20 ms of its run. What it did is therefore read back with sqlite3, and calls
// wait for each other: of 20 parallel ones 2 stored their row (coturn 4.6.1).
type Store struct {
	program string
	file    userdb.File
	read    Database
	turn    chan struct{} // holds one element while a call runs; unlike a mutex it can be waited for with a ctx
}

// Database reads the file by other means than turnadmin.
type Database interface {
	List(ctx context.Context) ([]string, error)
	Keys(ctx context.Context, username string) ([]string, error)
	Writable(ctx context.Context) error // why a row could not be written now
}

// New returns the store of the users in the file.
func New(program string, file userdb.File, read Database) *Store {
	return &Store{program: program, file: file, read: read, turn: make(chan struct{}, 1)}
}

// Put stores a user, or replaces the password of one.
func (s *Store) Put(ctx context.Context, username, password string) error {
	if err := userdb.CheckUser(username, password); err != nil {
		return err
	}
	want := []string{s.file.Key(username, password)}
	if err := s.change(ctx, username, want, "-a", "-b", s.file.Path, "-u", username, "-r", s.file.Realm, "-p", password); err != nil {
		return fmt.Errorf("store the user: %w", err)
	}
	return nil
}

// Delete removes a user; it is no error if there is none. Without -b turnadmin
// would clean /var/lib/turn/turndb, exit 0, and leave the user alive here.
func (s *Store) Delete(ctx context.Context, username string) error {
	if err := userdb.CheckName(username); err != nil {
		return err
	}
	if err := s.change(ctx, username, nil, "-d", "-b", s.file.Path, "-u", username, "-r", s.file.Realm); err != nil {
		return fmt.Errorf("delete the user: %w", err)
	}
	return nil
}

// List returns the names of all users of the realm. It asks sqlite3, because
// turnadmin -l mixes names and log lines on one stream.
func (s *Store) List(ctx context.Context) ([]string, error) { return s.read.List(ctx) }

// change runs turnadmin until the user's keys are as wanted, a few times.
func (s *Store) change(ctx context.Context, username string, want []string, args ...string) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return fmt.Errorf("wait for the turnadmin before this one: %w", ctx.Err())
	}
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.Multiplier = 50*time.Millisecond, 2
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		// turnadmin would make a new file where turnserver still has the old one open.
		if _, err := os.Stat(s.file.Path); err != nil {
			return struct{}{}, backoff.Permanent(fmt.Errorf("userdb is gone: %w: restart turnserver to have a new one", err))
		}
		said, err := run(ctx, s.program, s.file, args...)
		if err != nil {
			return struct{}{}, backoff.Permanent(err)
		}
		failure := s.judge(ctx, said, username, want)
		if failure == nil {
			return struct{}{}, nil
		}
		// turnadmin waits for no lock and keeps most causes to itself; sqlite3
		// waits, and tells whether trying again can help.
		if cause := s.read.Writable(ctx); cause != nil {
			return struct{}{}, backoff.Permanent(cause)
		}
		return struct{}{}, failure
	}, backoff.WithBackOff(pause), backoff.WithMaxTries(5))
	return err
}

// judge believes turnadmin only where it admits a failure.
func (s *Store) judge(ctx context.Context, said, username string, want []string) error {
	if said != "" {
		return fmt.Errorf("turnadmin says: %s", said)
	}
	keys, err := s.read.Keys(ctx, username)
	if err != nil {
		return err
	}
	if !slices.Equal(keys, want) {
		return userdb.ErrUnchanged
	}
	return nil
}
