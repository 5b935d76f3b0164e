package supervisor

import (
	"fmt"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Thread is the one OS thread that starts children, and that execs our successor.
//
// The kernel sends a child its death signal when the thread that started it ends, not
// when its process does, and the Go runtime ends threads as it likes (golang/go#27505:
// up to 1 of 10 healthy children was killed). An exec ends every thread but the one that
// calls it. So both are done on a thread that lasts as long as the process. That is the
// main one: the runtime never ends it, and whoever calls exec becomes it.
type Thread struct{ work chan func() }

// NewThread returns a thread that begins with Run.
func NewThread() *Thread { return &Thread{work: make(chan func())} }

// Run does what is asked of the thread, for ever. It becomes the main thread where it is
// called from the main goroutine of a program whose init has locked that to its thread.
func (t *Thread) Run() {
	runtime.LockOSThread()
	for f := range t.work {
		f()
	}
}

// do returns when the thread has done f.
func (t *Thread) do(f func()) {
	done := make(chan struct{})
	t.work <- func() {
		defer close(done)
		f()
	}
	<-done
}

// Exec makes this process another program, which keeps the pid, the children and the
// files under the same descriptors. No child can be started from the moment on at which
// prepare, which says what the program is to know and to have, is called. Exec returns
// only if it fails.
func (t *Thread) Exec(program string, args []string, prepare func() (env []string, files []syscall.Conn, err error)) (err error) {
	t.do(func() {
		var env []string
		var files []syscall.Conn
		if env, files, err = prepare(); err != nil {
			return
		}
		// What another thread starts meanwhile would inherit the files, too: it waits.
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		var kept []int
		for _, f := range files {
			var fd int
			if fd, err = Descriptor(f); err != nil {
				return
			}
			kept = append(kept, fd)
		}
		for _, fd := range kept {
			_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0) // it is open, which is all that can be wrong
		}
		err = fmt.Errorf("exec %s: %w", program, syscall.Exec(program, args, env))
		for _, fd := range kept {
			unix.CloseOnExec(fd)
		}
	})
	return err
}

// Descriptor is the number under which the kernel knows an open file. os.File.Fd would
// make a pipe block, and whoever reads it with it.
func Descriptor(c syscall.Conn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(n uintptr) { fd = int(n) })
	}
	if err != nil {
		return 0, fmt.Errorf("find a file's descriptor: %w", err)
	}
	return fd, nil
}
