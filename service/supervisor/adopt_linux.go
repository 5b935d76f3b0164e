package supervisor

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Left is what the image of this process that started a child leaves to the one that an
// exec makes of it.
type Left struct {
	PID    int
	Output [2]LeftPipe // stdout and stderr
}

// LeftPipe is one of the pipes that the child writes to.
type LeftPipe struct {
	File  *os.File
	Begun []byte // the beginning of a line whose end was not there yet
	Skip  bool   // what comes up to the end of the line belongs to one that has been cut
}

// Leave stops taking from the kernel what a successor would miss: what the child writes
// stays in the pipes, and if it ends it stays a zombie. resume undoes that.
func (p *ChildProcess) Leave() (left Left, resume func()) {
	p.taking.Lock()
	left.PID = p.pid
	for i, l := range p.output {
		left.Output[i] = LeftPipe{p.pipes[i], l.buf[:l.rest], l.skip}
	}
	return left, p.taking.Unlock
}

// Adopt goes on with a child that an earlier image of this process has started, on the
// same thread. A child that has ended meanwhile is reaped like any other.
func (c Command) Adopt(ctx context.Context, left Left) (*ChildProcess, error) {
	p := c.process()
	p.pid = left.PID
	for i, pipe := range left.Output {
		p.pipes[i] = pipe.File
		l := p.output[i]
		l.rest, l.skip = copy(l.buf[:maxLine], pipe.Begun), pipe.Skip
	}
	// Before anything else is said of this pid: it may be somebody else's.
	err := unix.Waitid(unix.P_PID, left.PID, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	if err != nil {
		p.closePipes()
		return nil, fmt.Errorf("go on with process %d: it is no child of ours: %w", left.PID, err)
	}
	process, err := os.FindProcess(left.PID)
	if err != nil {
		p.closePipes()
		return nil, fmt.Errorf("go on with process %d: %w", left.PID, err)
	}
	p.kernel = process
	go c.follow(ctx, p, process)
	return p, nil
}
