package supervisor

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

const (
	// maxLine is where a line is cut. coturn's own lines stay below 1 KiB; a
	// longer one carries what some client put into it.
	maxLine = 4 << 10
	// readSize is the size of a Linux pipe: one read can empty it.
	readSize = 64 << 10
)

// Lines returns a reader for Command.Stdout or Stderr that calls emit for every
// line that is not empty, without its end, cut at 4 KiB. The line is valid only
// during the call, and emit must not block: coturn stands still while its pipe is full, and one
// Allocate on a relay address that is not local writes 131,070 lines (6 MB).
func Lines(emit func(line []byte)) func(io.Reader) {
	return func(r io.Reader) {
		in := bufio.NewReaderSize(r, readSize)
		for {
			line, err := in.ReadSlice('\n')
			if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
				emit(line[:min(len(line), maxLine)])
			}
			for errors.Is(err, bufio.ErrBufferFull) { // the rest of an over-long line
				_, err = in.ReadSlice('\n')
			}
			if err != nil {
				return
			}
		}
	}
}
