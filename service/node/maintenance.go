package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/renameio/v2"

	"github.com/turnwarden/turnwarden/service"
)

// Maintenance is an operator's word that no new call is to be sent here, though
// everything runs. It is a file, so that it outlives us: one that is there means on.
// Nil is never on.
type Maintenance struct {
	file string

	mu    sync.Mutex                // of who sets it, which may take a slow disk's time
	since atomic.Pointer[time.Time] // nil = off
}

// OpenMaintenance reads what an earlier run was told.
func OpenMaintenance(file string) (*Maintenance, error) {
	m := &Maintenance{file: file}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("look for maintenance: %w", err)
	default:
		since := info.ModTime()
		m.since.Store(&since)
	}
	return m, nil
}

// Since says when it was turned on; zero = it is off.
func (m *Maintenance) Since() time.Time {
	if m == nil {
		return time.Time{}
	}
	if since := m.since.Load(); since != nil {
		return *since
	}
	return time.Time{}
}

// set turns it on or off, and says whether that changes anything.
func (m *Maintenance) set(on bool, by, off string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if on == !m.Since().IsZero() {
		return false, nil
	}
	if !on {
		if err := os.Remove(m.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("end maintenance: %w", err)
		}
		m.since.Store(nil)
		return true, nil
	}
	now := time.Now()
	// The text is for people who find the file.
	text := fmt.Appendf(nil, "in maintenance since %s, by %s; %s ends it\n", now.Format(time.RFC3339), by, off)
	if err := renameio.WriteFile(m.file, text, 0o600); err != nil {
		return false, fmt.Errorf("begin maintenance: %w", err)
	}
	m.since.Store(&now)
	return true, nil
}

// Maintenance takes the node out of the list, with everything running, or ends that.
func (n *Node) Maintenance(ctx context.Context, on bool, by string, report func(service.Step)) error {
	start := time.Now()
	changed, err := n.parts.Maintenance.set(on, by, n.facts().Commands.MaintenanceOff)
	step := service.Step{Name: "maintenance", Detail: "is off", Took: time.Since(start), Err: err}
	if since := n.parts.Maintenance.Since(); !since.IsZero() {
		step.Detail = "is on since " + since.Format(time.DateTime) + ", until turned off, over restarts too"
	}
	report(step)
	if err != nil {
		return err
	}
	if changed {
		n.logger.Info("maintenance", "on", on, "by", by)
	}
	report(n.announce(ctx))
	return nil
}

// announceLimit bounds the wait for ZooKeeper: what is to be announced is written as
// soon as it is back, whoever waits for it.
const announceLimit = 5 * time.Second

// announce has the record say what is true now, and tells what that is.
func (n *Node) announce(ctx context.Context) service.Step {
	start := time.Now()
	reasons := service.Readiness(n.Status())
	s := service.Step{Name: "record", Detail: service.State(reasons)}
	if len(reasons) > 0 {
		s.Detail += " (" + reasons[0].Text + ")"
	}
	if n.parts.Record == nil {
		s.Detail += "; standalone, so that nobody reads it"
		return s
	}
	ctx, cancel := context.WithTimeout(ctx, announceLimit)
	defer cancel()
	if err := n.parts.Record.Flush(ctx); err != nil {
		s.Err = fmt.Errorf("not written yet, readers see an older one: %w", err)
	}
	s.Took = time.Since(start)
	return s
}
