// Package sse writes server-sent events, as the HTML standard has them. What readers cost is
// bounded: in number, and in how long one that does not read is waited for.
package sse

import (
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// Heartbeat is how often something is sent at least: proxies close what is silent.
	Heartbeat = 15 * time.Second
	// patience is with one who does not read.
	patience = 10 * time.Second
)

// StillHere is a comment, which readers pass over.
const StillHere = ": still here\n\n"

// Readers are those of one kind of stream.
type Readers struct {
	most int32
	now  atomic.Int32
}

// NewReaders allows so many at a time.
func NewReaders(most int) *Readers { return &Readers{most: int32(most)} }

// Enter counts one more until leave. Who is one too many is told when to come again, and is
// to be refused.
func (r *Readers) Enter(w http.ResponseWriter) (leave func(), ok bool) {
	if ok = r.now.Add(1) <= r.most; !ok {
		w.Header().Set("Retry-After", "10")
	}
	return func() { r.now.Add(-1) }, ok
}

// Stream is the reply to one reader.
type Stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// Open begins a reply.
func Open(w http.ResponseWriter) Stream {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would keep the events to itself
	return Stream{w, http.NewResponseController(w)}
}

// Send writes events that are written out. On an error the reader has gone.
func (s Stream) Send(events []byte) error {
	// The server bounds a whole reply; this one has no end.
	if err := s.control.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := s.w.Write(events); err != nil {
		return err
	}
	return s.control.Flush()
}
