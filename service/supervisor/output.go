package supervisor

import (
	"bytes"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// maxLine is where a line is cut. coturn's own lines stay below 1 KiB; a
	// longer one carries what some client put into it.
	maxLine = 4 << 10
	// readSize is the size of a Linux pipe: one read can empty it.
	readSize = 64 << 10
)

// lines cuts what one pipe carries into lines that are not empty, without their ends,
// cut at 4 KiB.
type lines struct {
	emit func(line []byte) // the line is valid only during the call
	buf  []byte
	rest int  // how much of buf is the beginning of a line whose end has not come
	skip bool // the line has been emitted, and what comes up to its end is to be left out
}

func newLines(emit func(line []byte)) *lines {
	if emit == nil {
		emit = func([]byte) {}
	}
	return &lines{emit: emit, buf: make([]byte, maxLine+readSize)}
}

// read takes what one call of read gives.
func (l *lines) read(read func([]byte) (int, error)) error {
	n, err := read(l.buf[l.rest:])
	text := l.buf[:l.rest+max(n, 0)]
	for {
		line, after, found := bytes.Cut(text, []byte{'\n'})
		if !found {
			break
		}
		l.end(line)
		text = after
	}
	if len(text) > maxLine {
		l.end(text)
		text, l.skip = nil, true
	}
	if l.skip {
		text = nil
	}
	l.rest = copy(l.buf, text)
	return err
}

// end emits a line that has come to its end.
func (l *lines) end(line []byte) {
	if line = bytes.TrimRight(line, "\r"); len(line) > 0 && !l.skip {
		l.emit(line[:min(len(line), maxLine)])
	}
	l.skip = false
}

// close emits what has no end.
func (l *lines) close() { l.end(l.buf[:l.rest]) }

// drain reads a pipe of the child to its end. While p.taking is locked nothing is read,
// and l holds what has been.
func (p *ChildProcess) drain(from *os.File, l *lines) {
	conn, err := from.SyscallConn()
	for err == nil || errors.Is(err, unix.EINTR) {
		var readErr error
		err = conn.Read(func(fd uintptr) bool {
			p.taking.RLock()
			defer p.taking.RUnlock()
			readErr = l.read(func(b []byte) (n int, err error) {
				if n, err = unix.Read(int(fd), b); n == 0 && err == nil {
					err = io.EOF
				}
				return n, err
			})
			return !errors.Is(readErr, unix.EAGAIN)
		})
		if err == nil {
			err = readErr
		}
	}
	l.close()
}
