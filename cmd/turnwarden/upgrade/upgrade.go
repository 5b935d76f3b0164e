// Package upgrade has a running turnwarden become the version that is installed, by an exec:
// clients wait in the kernel's queue meanwhile, and calls notice nothing.
package upgrade

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/common/version"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/handover"
	"github.com/turnwarden/turnwarden/cmd/turnwarden/host"
	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/node"
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

// quiet brings the node to rest, but for the calls of its clients, whose requests are
// answered meanwhile.
func (u *Upgrader) quiet(ctx context.Context, reply *admin.Reply) (resume func(), err error) {
	for {
		if err := u.Parts.Settle(ctx, reply.Step); err != nil {
			return nil, fmt.Errorf("wait for a quiet moment: %w", err)
		}
		u.Lasting.Wait(ctx, lastingLimit)
		// What an operator asks for is not taken any more, and done if it was.
		var goOn func()
		var err error
		if u.Admin != nil {
			err = u.Admin.Park(ctx, patience, shutLimit)
		}
		if err == nil {
			goOn, err = u.Parts.Pause(ctx)
		}
		if err == nil {
			return func() { goOn(); u.openAdmin() }, nil
		}
		u.openAdmin()
		if !errors.Is(err, node.ErrBusy) {
			return nil, fmt.Errorf("wait for a quiet moment: %w", err)
		}
	}
}

func (u *Upgrader) openAdmin() {
	if u.Admin != nil {
		u.Admin.Open()
	}
}

// shut has new clients wait, and answers those that are here.
func (u *Upgrader) shut(ctx context.Context) error {
	errs := make(chan error)
	for _, g := range u.Gates {
		go func() { errs <- g.Park(ctx, 0, shutLimit) }() // what heeds its context is a stream
	}
	var err error
	for range u.Gates {
		err = errors.Join(err, <-errs)
	}
	return err
}

func (u *Upgrader) open() {
	for _, g := range u.Gates {
		g.Open()
	}
}

// leave writes down what the next image needs. Until stay is called, which is where the
// exec has failed, nothing is taken from the child that the next image would miss.
func (u *Upgrader) leave(shut time.Time, by string, reply *admin.Reply) (env []string, files []syscall.Conn, stay func(), err error) {
	h, named, stay := u.handover()
	h.Shut, h.By = shut, by
	if h.Node.Supervisor.Child.State == supervisor.Starting {
		return nil, nil, stay, errors.New("turnserver is being started; ask again")
	}
	if reply != nil {
		named[handover.Reply] = reply
	}
	descriptors := map[string]int{}
	for name, f := range named {
		if descriptors[name], err = supervisor.Descriptor(f); err != nil {
			return nil, nil, stay, fmt.Errorf("%s: %w", name, err)
		}
		files = append(files, f)
	}
	memory, err := handover.Write(h, descriptors)
	if err != nil {
		return nil, nil, stay, err
	}
	fd, err := supervisor.Descriptor(memory)
	return append(os.Environ(), handover.Env+"="+strconv.Itoa(fd)), append(files, memory), stay, err
}

// selfCheck has the new program look at what it would get, and returns its words.
func (u *Upgrader) selfCheck(ctx context.Context, program string) (string, error) {
	h, named, stay := u.handover()
	stay()
	var files []syscall.Conn
	descriptors := map[string]int{}
	for name, f := range named {
		descriptors[name] = 3 + len(files)
		files = append(files, f)
	}
	memory, err := handover.Write(h, descriptors)
	if err != nil {
		return "", err
	}
	defer memory.Close()
	return supervisor.SelfCheck(ctx, program, append(os.Args[1:], "--self-check"), memory, files...)
}

// handover is what there is to hand over. Until stay is called nothing is taken from the
// child that is not in it.
func (u *Upgrader) handover() (h handover.State, files map[string]syscall.Conn, stay func()) {
	h = handover.State{Version: handover.Version, Build: version.Version, PID: os.Getpid()}
	at := u.Now.Load()
	left, stay := at.Leave()
	if h.Node = u.Parts.Save(); h.Node.Supervisor.Child.PID != left.PID {
		left = supervisor.Left{} // it has ended
	}
	return h, at.Save(&h, left), stay
}

// resumedReply goes on with the answer to whoever has asked for the upgrade; nil if that
// was a signal.
func resumedReply(from *handover.Inherited) *admin.Reply {
	f := from.File(handover.Reply)
	if f == nil {
		return nil
	}
	r, err := admin.ResumeReply(f)
	if err != nil {
		return nil // then he has hung up
	}
	return r
}
