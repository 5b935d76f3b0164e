package e2e

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/userdb"
	"github.com/turnwarden/turnwarden/service/userdb/sqlite"
)

// TestKeeper: users are stored and listed while a killed turnserver starts again, and
// none of the valid ones is refused. Without the keeper one in twenty is.
func TestKeeper(t *testing.T) {
	t.Parallel()
	s := realtest.StartTurnServer(t, realtest.TurnOptions{})
	s.AddUser(t, "valid", "secret")
	db := sqlite.DB{File: userdb.File{Path: s.Database, Realm: realtest.Realm}}
	keeper, err := db.Keep(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	keeping, stop := context.WithCancel(t.Context())
	var kept sync.WaitGroup
	kept.Go(func() { _ = keeper.Run(keeping) })
	defer kept.Wait()
	defer stop()
	store := sqlite.NewUsers(db)
	for range 5 {
		s.Kill(t)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			for ctx.Err() == nil {
				if err := store.Put(ctx, "another", "secret"); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
		served := make(chan struct{})
		all.Go(func() {
			defer close(served)
			for n := 0; n < 50 && ctx.Err() == nil; {
				attempt, stop := context.WithTimeout(ctx, 200*time.Millisecond)
				_, err := probe.Allocate(attempt, s.Addr, "valid", "secret")
				stop()
				switch {
				case errors.Is(err, probe.ErrRefused):
					t.Error(err)
				case err == nil:
					n++
				}
			}
		})
		s.Start(t)
		<-served
		cancel()
		all.Wait()
	}
}
