package journal

import (
	"bytes"
	"sync"
)

// The bounds of what a Tail keeps, and of what waits for a follower that is slow.
const (
	tailLines  = 1000
	tailWaits  = 256
	tailLength = 4 << 10 // of one line
)

// Tail is a writer that passes on what is logged, and remembers the last lines for
// whoever asks later, or follows. Writing never waits for a follower: one that does not
// keep up misses lines.
type Tail struct {
	mu        sync.Mutex
	lines     [][]byte // a ring
	next      int
	followers map[chan []byte]struct{}
}

// NewTail returns a tail without lines.
func NewTail() *Tail { return &Tail{followers: map[chan []byte]struct{}{}} }

// Write implements io.Writer. Each call is one line, as slog's handlers do it.
func (t *Tail) Write(p []byte) (int, error) {
	line := bytes.Clone(bytes.TrimRight(p[:min(len(p), tailLength)], "\n"))
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) < tailLines {
		t.lines = append(t.lines, line)
	} else {
		t.lines[t.next] = line
		t.next = (t.next + 1) % tailLines
	}
	for f := range t.followers {
		select {
		case f <- line:
		default:
		}
	}
	return len(p), nil
}

// Last returns the last n lines, oldest first. Where follow is given, it also returns what
// is written from then on, until stop is called.
func (t *Tail) Last(n int, follow bool) (lines [][]byte, more <-chan []byte, stop func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines = append(append(lines, t.lines[t.next:]...), t.lines[:t.next]...)
	lines = lines[max(0, len(lines)-n):]
	if !follow {
		return lines, nil, func() {}
	}
	f := make(chan []byte, tailWaits)
	t.followers[f] = struct{}{}
	return lines, f, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.followers, f)
	}
}
