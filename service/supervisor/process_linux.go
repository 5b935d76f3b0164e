package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
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

	// Stdout and Stderr are told every line that is not empty, without its end, cut at
	// 4 KiB, each by a goroutine of its own; nil discards them. A line is valid only
	// during the call. They must not block: once a pipe is full (64 KiB) coturn 4.6.1
	// answers nobody, not even a STUN Binding, and one Allocate on a relay address that
	// is not local writes 131,070 lines (6 MB).
	Stdout, Stderr func(line []byte)

	Thread *Thread // starts it; the child ends with this thread
}

// pipeTimeout is how long Wait goes on reading the output of a child that has
// ended. Only a process that left the child's process group with a copy of the
// pipe can make it last that long.
const pipeTimeout = time.Second

// ChildProcess is one run of a Command.
type ChildProcess struct {
	pid    int
	pipes  [2]*os.File // the ends from which we read its stdout and stderr
	output [2]*lines
	kernel *os.Process
	exited chan struct{} // closed when it has ended, perhaps not yet reaped
	done   chan struct{} // closed when it has been reaped and err is set
	err    error

	// taking is read-locked while something is taken from the kernel that nobody can
	// have a second time: output, or the exit status.
	taking sync.RWMutex
}

// PID is the child's, also after it has ended.
func (p *ChildProcess) PID() int { return p.pid }

// Signal is safe beside the reaping: os.Process knows a child that has been reaped.
func (p *ChildProcess) Signal(sig syscall.Signal) error { return p.kernel.Signal(sig) }

// Wait returns when the child has been reaped.
func (p *ChildProcess) Wait() error {
	<-p.done
	return p.err
}

// Start starts the child. The end of ctx ends it, as a Starter says.
func (c Command) Start(ctx context.Context) (*ChildProcess, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cmd := exec.Command(c.Path, c.Args...) //nolint:noctx // whose end is SIGKILL; stop begins with SIGTERM
	cmd.Env = append([]string{}, c.Env...) // nil would mean ours
	cmd.Dir = c.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:     true, // a Ctrl-C in our terminal must not reach it
		Pdeathsig:   syscall.SIGKILL,
		Credential:  c.Credential,
		AmbientCaps: c.AmbientCaps,
	}
	p := c.process()
	for i, to := range []*io.Writer{&cmd.Stdout, &cmd.Stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			p.closePipes()
			return nil, fmt.Errorf("start %s: %w", c.Path, err)
		}
		defer w.Close() // the child has its own
		p.pipes[i], *to = r, w
	}
	var err error
	c.Thread.do(func() { err = cmd.Start() })
	if err != nil {
		p.closePipes()
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	p.pid, p.kernel = cmd.Process.Pid, cmd.Process
	go c.follow(ctx, p, cmd.Process)
	return p, nil
}

func (c Command) process() *ChildProcess {
	return &ChildProcess{
		output: [2]*lines{newLines(c.Stdout), newLines(c.Stderr)},
		exited: make(chan struct{}), done: make(chan struct{}),
	}
}

func (p *ChildProcess) closePipes() {
	for _, r := range p.pipes {
		_ = r.Close() // a nil one says no more than that it is none
	}
}

// follow reads the child's output and ends with its reaping.
func (c Command) follow(ctx context.Context, p *ChildProcess, process *os.Process) {
	var output sync.WaitGroup
	for i, r := range p.pipes {
		output.Go(func() { p.drain(r, p.output[i]) })
	}
	drained := make(chan struct{})
	go func() {
		output.Wait()
		close(drained)
	}()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		c.stop(ctx, p)
	}()
	awaitExit(p.pid)
	close(p.exited)
	<-stopped
	p.taking.RLock()
	// Until it is reaped its pid, and so its group, cannot be somebody else's.
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	p.err = exitError(process.Wait())
	p.taking.RUnlock()

	timer := time.NewTimer(pipeTimeout)
	defer timer.Stop()
	select {
	case <-drained:
	case <-timer.C:
	}
	p.closePipes()
	close(p.done)
}

// stop waits for ctx to end and then ends the child; it returns at once when
// the child ends by itself.
func (c Command) stop(ctx context.Context, p *ChildProcess) {
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

// exitError turns how a process ended into what Process.Wait says of it.
func exitError(state *os.ProcessState, err error) error {
	if err != nil || state.Success() {
		return err
	}
	status, _ := state.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return &ExitError{Code: -1, Signal: status.Signal()}
	}
	return &ExitError{Code: status.ExitStatus()}
}
