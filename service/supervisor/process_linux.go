package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Command is a program that dies with us and leaves nothing behind.
type Command struct {
	Path string   // looked up in PATH when it holds no slash
	Args []string // without the program's name
	Env  []string // all of it; ours is not inherited
	Dir  string   // empty for ours

	// Credential and AmbientCaps are set before the exec. A child that changes
	// its uid by itself, as coturn does for proc-user, clears its death signal
	// and outlives us.
	Credential  *syscall.Credential // nil for ours
	AmbientCaps []uintptr           // capabilities it keeps without being root

	StopTimeout time.Duration   // from SIGTERM to SIGKILL
	Hurry       <-chan struct{} // once closed, no stop waits; may be nil

	// Stdout and Stderr read what the child prints, each in a goroutine of its
	// own; nil discards it. They must read without pause: once a pipe is full
	// (64 KiB) coturn 4.6.1 answers nobody, not even a STUN Binding.
	Stdout, Stderr func(io.Reader)
}

// pipeTimeout is how long Wait goes on reading the output of a child that has
// ended. Only a process that left the child's process group with a copy of the
// pipe can make it last that long.
const pipeTimeout = time.Second

type process struct {
	pid    int
	exited chan struct{} // closed when it has ended, perhaps not yet reaped
	done   chan struct{} // closed when it has been reaped and err is set
	err    error
}

func (p *process) PID() int { return p.pid }

func (p *process) Wait() error {
	<-p.done
	return p.err
}

// Start is a Starter.
func (c Command) Start(ctx context.Context) (Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p := &process{exited: make(chan struct{}), done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// Pdeathsig fires when the thread that started the child ends, not when
		// its process does, and the Go runtime ends threads as it likes. So this
		// one is held until the child is gone (golang/go#27505): without it, up to
		// 1 of 10 healthy children was killed.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		c.run(ctx, p, started)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	return p, nil
}

// run is one life of the child, from before the fork to after the reaping.
func (c Command) run(ctx context.Context, p *process, started chan<- error) {
	cmd := exec.Command(c.Path, c.Args...) //nolint:noctx // whose end is SIGKILL; stop begins with SIGTERM
	cmd.Env = append([]string{}, c.Env...) // nil would mean ours
	cmd.Dir = c.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:     true, // a Ctrl-C in our terminal must not reach it
		Pdeathsig:   syscall.SIGKILL,
		Credential:  c.Credential,
		AmbientCaps: c.AmbientCaps,
	}
	out, err := openPipes(cmd)
	if err != nil {
		started <- err
		return
	}
	err = cmd.Start()
	out.closeWriters()
	if err != nil {
		out.closeReaders()
		started <- err
		return
	}
	p.pid = cmd.Process.Pid
	started <- nil
	drained := out.drain(c.Stdout, c.Stderr)

	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		c.stop(ctx, p)
	}()
	awaitExit(p.pid)
	close(p.exited)
	<-stopped
	// Until it is reaped its pid, and so its group, cannot be somebody else's.
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	p.err = exitError(cmd.Wait())

	timer := time.NewTimer(pipeTimeout)
	defer timer.Stop()
	select {
	case <-drained:
	case <-timer.C:
	}
	out.closeReaders()
	close(p.done)
}

// stop waits for ctx to end and then ends the child; it returns at once when
// the child ends by itself.
func (c Command) stop(ctx context.Context, p *process) {
	select {
	case <-p.exited:
		return
	case <-ctx.Done():
	}
	if !errors.Is(context.Cause(ctx), ErrKill) {
		// To the child alone: what it started is its own to end, and is killed
		// with the group if it does not.
		_ = syscall.Kill(p.pid, syscall.SIGTERM)
		timer := time.NewTimer(c.StopTimeout)
		defer timer.Stop()
		select {
		case <-p.exited:
			return
		case <-c.Hurry:
		case <-timer.C:
		}
	}
	// SIGKILL also ends a child that SIGSTOP has stopped, where SIGTERM waits.
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
}

// awaitExit returns when pid has ended, and leaves it to be reaped.
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// exitError turns the result of exec.Cmd.Wait into that of Process.Wait.
func exitError(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	status, _ := exit.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return &ExitError{Code: -1, Signal: status.Signal()}
	}
	return &ExitError{Code: status.ExitStatus()}
}
