package node_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/calls"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/node"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/service/traffic"
)

// parked is a standalone node with all its parts, none of which runs.
func parked(t *testing.T, maintenance *node.Maintenance) *node.Node {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	n := node.New(node.Facts{Listeners: func(int) []probe.Listener { return nil }}, logger)
	n.Join(node.Parts{
		Child:       supervisor.New(nil, supervisor.Policy{}, n.ChildChanged, logger, supervisor.Metrics{Restarts: discardCounter}),
		Prober:      probe.New(probe.Config{}, probe.Node{}, logger, probe.Metrics{}),
		Credentials: credential.New(credential.Config{}, nil, nil, credential.NewFile(filepath.Join(t.TempDir(), "c.json")), func() {}, logger, discardCredentials),
		Traffic:     traffic.NewMeter(idle{}, traffic.Config{Interval: time.Second}, func() {}, logger),
		Log:         calls.NewLog(logger),
		Maintenance: maintenance,
	})
	return n
}

func TestMaintenance(t *testing.T) {
	file := filepath.Join(t.TempDir(), "maintenance")
	open := func() *node.Maintenance {
		t.Helper()
		m, err := node.OpenMaintenance(file)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	var said []string
	turn := func(m *node.Maintenance, on bool) {
		t.Helper()
		said = nil
		if err := parked(t, m).Maintenance(context.Background(), on, "uid 0", func(s service.Step) {
			if s.Err != nil {
				t.Error(s.Err)
			}
			said = append(said, s.Name+": "+s.Detail)
		}); err != nil {
			t.Fatal(err)
		}
	}
	if since := open().Since(); !since.IsZero() {
		t.Fatalf("a new node is in maintenance since %v", since)
	}
	turn(open(), false) // nothing to end
	turn(open(), true)
	if len(said) != 2 || !strings.HasPrefix(said[0], "maintenance: is on since ") || !strings.HasPrefix(said[1], "record: maintenance (") {
		t.Errorf("said %q", said)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	since := open().Since()
	if since.IsZero() || !since.Equal(info.ModTime()) {
		t.Errorf("after a restart on since %v, want %v", since, info.ModTime())
	}
	turn(open(), true)
	if again, err := os.Stat(file); err != nil || !again.ModTime().Equal(info.ModTime()) {
		t.Errorf("asked again: %v, %v; it began at %v", again.ModTime(), err, info.ModTime())
	}
	turn(open(), false)
	if !open().Since().IsZero() || said[0] != "maintenance: is off" || !strings.HasPrefix(said[1], "record: down (") {
		t.Errorf("on after it was ended; said %q", said)
	}

	// What cannot be kept is not begun: a restart would forget it.
	m, err := node.OpenMaintenance("/proc/nowhere/maintenance")
	if err != nil {
		t.Fatal(err)
	}
	if err := parked(t, m).Maintenance(t.Context(), true, "uid 0", func(service.Step) {}); err == nil || !m.Since().IsZero() {
		t.Errorf("began without a file: %v, %v", err, m.Since())
	}
	if _, err := node.OpenMaintenance(filepath.Join(t.TempDir(), strings.Repeat("x", 300))); err == nil {
		t.Error("a file that cannot be looked for counts as none")
	}
}
