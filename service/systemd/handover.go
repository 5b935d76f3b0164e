package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// The two services of which one may run.
const (
	Theirs = "coturn.service"
	Ours   = "turnwarden.service"
)

// serveLimit is how long turnwarden may take until it serves. A credential is proved
// within some seconds; what takes longer needs a person, and coturn.service serves on.
const serveLimit = 90 * time.Second

// Services is asked and told about services; Systemctl is the real one.
type Services interface {
	Show(ctx context.Context, name string) (Unit, error)
	Do(ctx context.Context, args ...string) error
}

// Pending says why turnwarden must not start yet; empty = nothing is in its way. An
// enabled service counts, even if it is down: the next boot, or the next upgrade of its
// package, would start a second server on the same ports.
func Pending(theirs Unit) string {
	switch {
	case theirs.Running():
		return fmt.Sprintf("%s is %s with a turnserver of its own (pid %d): turnwarden waits; hand its ports over with: turnwarden handover", theirs.Name, theirs.Active, theirs.PID)
	case theirs.Enabled():
		return theirs.Name + " is enabled and would start a turnserver of its own: turnwarden waits; hand its ports over with: turnwarden handover"
	}
	return ""
}

// A Handover is what is to be done.
type Handover struct {
	Services Services
	// Marker is a file that says that the mask is ours, for whoever removes turnwarden
	// to take it away again.
	Marker string
	// Report is told of each step that is over.
	Report func(step, detail string, took time.Duration, err error)
}

// Run stops, disables and masks coturn.service, which ends its calls, and starts
// turnwarden.service. It returns once that serves. If it does not, or ctx ends,
// coturn.service is as it was before, but for its calls.
func (h *Handover) Run(ctx context.Context) error {
	theirs, err := h.Services.Show(ctx, Theirs)
	if err != nil {
		return err
	}
	if err := h.take(ctx, theirs); err != nil {
		return errors.Join(err, h.giveBack(context.WithoutCancel(ctx), theirs))
	}
	return nil
}

func (h *Handover) take(ctx context.Context, theirs Unit) error {
	if theirs.Exists() {
		if err := h.step("disabled", Theirs, func() error { return h.Services.Do(ctx, "disable", "--now", Theirs) }); err != nil {
			return err
		}
		if err := h.step("masked", Theirs+", so that upgrades of its package do not start it", func() error { return h.mask(ctx, theirs) }); err != nil {
			return err
		}
	}
	return h.step("started", Ours+", which serves", func() error {
		ctx, cancel := context.WithTimeout(ctx, serveLimit)
		defer cancel()
		return errors.Join(h.Services.Do(ctx, "enable", Ours), h.Services.Do(ctx, "start", Ours))
	})
}

func (h *Handover) mask(ctx context.Context, theirs Unit) error {
	if theirs.Load == "masked" {
		return nil // by somebody who will want it to stay so
	}
	if err := os.MkdirAll(filepath.Dir(h.Marker), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(h.Marker, nil, 0o600); err != nil {
		return err
	}
	return h.Services.Do(ctx, "mask", Theirs)
}

// giveBack undoes what take has done.
func (h *Handover) giveBack(ctx context.Context, theirs Unit) error {
	return h.step("gave back", "the ports to "+Theirs, func() error {
		errs := []error{h.Services.Do(ctx, "stop", Ours)}
		if theirs.Load != "masked" && theirs.Exists() {
			errs = append(errs, h.Services.Do(ctx, "unmask", Theirs), os.RemoveAll(h.Marker))
		}
		if theirs.Enabled() {
			errs = append(errs, h.Services.Do(ctx, "enable", Theirs))
		}
		if theirs.Running() {
			errs = append(errs, h.Services.Do(ctx, "start", Theirs))
		}
		return errors.Join(errs...)
	})
}

func (h *Handover) step(name, detail string, do func() error) error {
	start := time.Now()
	err := do()
	h.Report(name, detail, time.Since(start), err)
	return err
}
