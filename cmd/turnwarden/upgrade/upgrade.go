// Package upgrade has a running turnwarden become the version that is installed, by an exec:
// clients wait in the kernel's queue meanwhile, and calls notice nothing.
package upgrade

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/common/version"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/handover"
	"github.com/turnwarden/turnwarden/cmd/turnwarden/host"
	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/transport/admin"
	"github.com/turnwarden/turnwarden/transport/gate"
)

const (
	// upgradeLimit bounds an upgrade: the sweep after a revocation takes 65 s.
	upgradeLimit = 3 * time.Minute
	// checkStands is how long a self-check is believed. What is waited for after it can
	// take minutes, in which somebody edits a file that the new version then refuses.
	checkStands = time.Second
	// shutLimit bounds what requests under way may take, while others wait.
	shutLimit = 3 * time.Second
	// lastingLimit bounds what probes for others may take, while nobody waits: those are
	// scrapes, to which Prometheus gives 10 s.
	lastingLimit = 12 * time.Second
	// patience is how long operators are waited for before they are told that what they
	// asked for goes on without them.
	patience = 2 * time.Second
)

// Parts are what a node is joined of.
type Parts interface {
	Settle(ctx context.Context, report func(service.Step)) error
	Pause(ctx context.Context) (resume func(), err error)
	Save() handover.Node
}

// Upgrader has this process become the program that is installed now.
type Upgrader struct {
	Now    *host.Current
	Parts  Parts
	Alone  func(context.Context, func() error) error // without a signal that ends this process
	Thread *supervisor.Thread
	Logger *slog.Logger
	From   *handover.Inherited // what we began with

	Admin   *gate.Gate // nil without one
	Gates   []*gate.Gate
	Lasting *gate.Lasting

	Asked    <-chan os.Signal // nil = nobody asks by a signal
	busy     atomic.Bool
	Requests chan *admin.Reply // holds one, and there is but one while busy
}

// Request is asked over the admin socket.
func (u *Upgrader) Request(r *admin.Reply) {
	if !u.busy.CompareAndSwap(false, true) {
		r.Done(errors.New("another upgrade is under way"))
		return
	}
	u.Requests <- r
}

// Run upgrades when it is asked to. It goes on only where that has failed.
func (u *Upgrader) Run(ctx context.Context) error {
	if !u.From.Fresh() {
		u.arrived()
	}
	for {
		var reply *admin.Reply
		by := "SIGUSR2"
		select {
		case <-ctx.Done():
			return nil
		case <-u.Asked:
			if !u.busy.CompareAndSwap(false, true) {
				continue // one that was asked for at the same moment is next
			}
		case reply = <-u.Requests:
			by = reply.By
		}
		begun := time.Now()
		u.Logger.Info("upgrade in place", "by", by)
		err := u.upgrade(ctx, by, reply)
		if ctx.Err() != nil {
			err = fmt.Errorf("turnwarden is stopping: %w", err)
		}
		u.Logger.Warn("not upgraded: this version goes on", "by", by, "result", "failed", "version", version.Version,
			"duration", time.Since(begun).Round(time.Millisecond), "err", err)
		u.busy.Store(false)
		reply.Done(fmt.Errorf("turnwarden %s goes on: %w", version.Version, err))
	}
}

// arrived says what has become of us.
func (u *Upgrader) arrived() {
	shut := time.Since(u.From.Shut)
	child := u.From.Node.Supervisor.Child
	u.Logger.Info("upgraded in place", "by", u.From.By, "result", "ok", "before", u.From.Build, "now", version.Version,
		"pid", child.PID, "duration", shut.Round(time.Millisecond))
	detail := fmt.Sprintf("turnwarden %s, turnserver %d goes on", version.Version, child.PID)
	if child.PID == 0 {
		detail = fmt.Sprintf("turnwarden %s, turnserver is in state %s", version.Version, child.State)
	}
	reply := resumedReply(u.From)
	reply.Step(service.Step{Name: "upgraded", Detail: detail, Took: shut})
	reply.Done(nil)
}

// upgrade returns only if it fails.
func (u *Upgrader) upgrade(ctx context.Context, by string, reply *admin.Reply) error {
	ctx, cancel := context.WithTimeout(ctx, upgradeLimit)
	defer cancel()
	step := func(name string, f func() (detail string, err error)) error {
		start := time.Now()
		detail, err := f()
		reply.Step(service.Step{Name: name, Detail: detail, Took: time.Since(start), Err: err})
		return err
	}
	var program string
	var checked os.FileInfo
	var lately time.Time
	check := func() (said string, err error) {
		lately = time.Now()
		if program, err = supervisor.Program(); err != nil {
			return "", err
		}
		if checked, err = os.Stat(program); err != nil {
			return "", err
		}
		return u.selfCheck(ctx, program)
	}
	if err := step("self-check", check); err != nil {
		return err
	}
	var resume func()
	if err := step("quiet", func() (_ string, err error) {
		resume, err = u.quiet(ctx, reply)
		return "no turnadmin, no probe and no revocation runs", err
	}); err != nil {
		return err
	}
	defer resume()
	if time.Since(lately) > checkStands {
		if err := step("self-check", check); err != nil {
			return err
		}
	}

	shut := time.Now()
	defer u.open()
	if err := u.shut(ctx); err != nil {
		return err
	}
	stay := func() {}
	err := u.Alone(ctx, func() error {
		return u.Thread.Exec(program, os.Args, func() (env []string, files []syscall.Conn, err error) {
			if now, err := os.Stat(program); err != nil || !os.SameFile(now, checked) || !now.ModTime().Equal(checked.ModTime()) {
				return nil, nil, fmt.Errorf("%s was replaced again after its self-check", program)
			}
			env, files, stay, err = u.leave(shut, by, reply)
			return env, files, err
		})
	})
	stay()
	return err
}
