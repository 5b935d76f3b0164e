package credential_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-kit/kit/metrics/discard"

	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// willing is a store and a server that take everything.
type willing struct{}

func (willing) Put(context.Context, string, string) error      { return nil }
func (willing) Delete(context.Context, string) error           { return nil }
func (willing) List(context.Context) ([]string, error)         { return nil, nil }
func (willing) Allocate(context.Context, string, string) error { return nil }

// served returns a running rotator that hands out, in real time.
func served(b *testing.B) *credential.Rotator {
	b.Helper()
	cfg := credential.Config{Node: "turn-1", Realm: "example.org", Lifetime: 24 * time.Hour, RotateEvery: 12 * time.Hour}
	file := credential.NewFile(filepath.Join(b.TempDir(), "credentials.json"))
	r := credential.New(cfg, willing{}, willing{}, file, func() {}, slog.New(slog.DiscardHandler),
		credential.Metrics{Rotations: discard.NewCounter(), Failures: discard.NewCounter(), Transitions: discard.NewCounter(), TransitionFailures: discard.NewCounter()})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	realtest.Eventually(b, 10*time.Second, func() error {
		if _, ok := r.Hand(); !ok {
			return context.DeadlineExceeded
		}
		return nil
	})
	return r
}

func BenchmarkHand(b *testing.B) {
	r := served(b)
	b.ReportAllocs()
	for b.Loop() {
		r.Hand()
	}
}

func BenchmarkHandParallel(b *testing.B) {
	r := served(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.Hand()
		}
	})
}
