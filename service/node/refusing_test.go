package node

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/go-kit/kit/metrics/discard"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/calls"
	"github.com/turnwarden/turnwarden/service/coturn"
)

// alices are the calls of one client, which end when they are told to.
type alices struct{ open []coturn.Session }

func (a *alices) List(context.Context, string) ([]coturn.Session, error) { return a.open, nil }

func (a *alices) Cancel(context.Context, ...string) error { a.open = nil; return nil }

// TestRevokeOfANameWhileRefusing: no credential has to be proved to end a client's calls,
// which is what a drain waits for.
func TestRevokeOfANameWhileRefusing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := &alices{[]coturn.Session{{ID: "1", Username: "1790000000:alice"}}}
		n := New(Facts{Mode: coturn.ModeSecret}, slog.New(slog.DiscardHandler))
		sweeper := calls.NewSweeper(open, slog.New(slog.DiscardHandler), discard.NewCounter())
		n.Join(Parts{Sweeper: sweeper})
		n.refusing.Store(1)
		go func() { _ = sweeper.Run(t.Context()) }()
		if err := n.Revoke(t.Context(), service.RevokeRequest{User: "alice"}, "test", func(service.Step) {}); err != nil || len(open.open) > 0 {
			t.Errorf("%v; %d calls are left", err, len(open.open))
		}
		for _, r := range []service.RevokeRequest{{All: true}, {Generation: 1}} {
			if err := n.Revoke(t.Context(), r, "test", func(service.Step) {}); !errors.Is(err, errRefusing) {
				t.Errorf("%+v: %v", r, err)
			}
		}
	})
}
