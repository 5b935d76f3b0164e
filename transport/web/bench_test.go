package web_test

import (
	"log/slog"
	"os"
	"testing"

	"github.com/turnwarden/turnwarden/metrics"
	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/calls"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/registry"
	"github.com/turnwarden/turnwarden/service/traffic"
	"github.com/turnwarden/turnwarden/transport/transporttest"
	"github.com/turnwarden/turnwarden/transport/web"
)

// BenchmarkMetrics says what a scrape costs beside a bare handler of net/http that writes
// the same body, for a node with a child, two
// interfaces and a session with ZooKeeper.
func BenchmarkMetrics(b *testing.B) {
	status := transporttest.Up()
	status.Child.PID = os.Getpid()
	status.Traffic.Devices = []traffic.DeviceSample{{Name: "eth0"}, {Name: "eth1"}}
	status.Registry = &registry.Status{Registered: true, Session: directory.Status{State: directory.Connected}}
	status.Sessions = calls.NewLog(slog.New(slog.DiscardHandler)).Sessions()
	counts := metrics.New()
	now := func() service.Status { return status }
	counts.Observe(now)
	h, err := web.NewHandler("/metrics", counts.Handler(slog.New(slog.DiscardHandler)), now, counts.Instrument)
	if err != nil {
		b.Fatal(err)
	}
	transporttest.AgainstBare(b, h, "/metrics")
}
