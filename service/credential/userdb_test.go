package credential_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/turnwarden/turnwarden/service/credential"
)

var errStore = errors.New("userdb: database is locked")

// fault is how a call of the store or the verifier goes. The zero value is a
// call that works at once; one that takes longer than the caller waits hangs.
type fault struct {
	takes   time.Duration
	err     error
	applied bool // the change is made although err is returned
	accepts bool // the server remembers users that are gone
}

const forever = 1000 * time.Hour

func (w *world) Put(ctx context.Context, user, password string) error {
	return w.call(ctx, "put", func() {
		if w.revoked[user] {
			w.broken = fmt.Errorf("invariant 10: %s was revoked and is added again", user)
		}
		w.users[user] = password
		delete(w.vanished, user)
	})
}

func (w *world) Delete(ctx context.Context, user string) error {
	return w.call(ctx, "delete", func() { delete(w.users, user) })
}

func (w *world) List(ctx context.Context) (users []string, err error) {
	err = w.call(ctx, "list", func() {
		for user := range w.users {
			users = append(users, user)
		}
	})
	return users, err
}

// Allocate is the TURN server, which refuses whom the userdb does not know.
func (w *world) Allocate(ctx context.Context, user, password string) error {
	refused := false
	err := w.call(ctx, "allocate", func() {
		refused = w.users[user] != password && !w.faults["allocate"].accepts
		w.proved[user] = !refused
	})
	if refused {
		return credential.ErrRefused
	}
	return err
}

func (w *world) call(ctx context.Context, op string, change func()) error {
	w.point()
	w.mu.Lock()
	if w.calls++; w.calls > 1 {
		w.broken = fmt.Errorf("invariant 7: %d calls at once", w.calls)
	}
	w.counts[op]++
	f := w.faults[op]
	if f.err == nil || f.applied {
		change()
	}
	w.mu.Unlock()
	err := f.err
	if f.takes > 0 {
		select {
		case <-time.After(f.takes):
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	w.mu.Lock()
	w.calls--
	w.mu.Unlock()
	w.point()
	return err
}

// point checks the world, lets clients fetch, and is where a process may die: a
// goroutine that exits here does nothing more, as one that was killed.
func (w *world) point() {
	w.mu.Lock()
	if w.rot == nil {
		w.mu.Unlock()
		return
	}
	if w.eager {
		w.fetchLocked()
	}
	if err := w.breach(); w.broken == nil {
		w.broken = err
	}
	die := w.dieIn == 1
	w.dieIn = max(0, w.dieIn-1)
	if die {
		w.rot = nil
	}
	w.mu.Unlock()
	if die {
		runtime.Goexit()
	}
}
