package supervisor

import "io"

// ReadLines reads r to its end.
func ReadLines(r io.Reader, emit func([]byte)) {
	l := newLines(emit)
	for l.read(r.Read) == nil { //nolint:revive // the condition does it
	}
	l.close()
}
