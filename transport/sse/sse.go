// Package sse writes server-sent events, as the HTML standard has them. What readers cost is
// bounded: in number, and in how long one that does not read is waited for.
package sse

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
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

// share is the part of all streams that one caller may have.
const share = 8

// Readers are those of one kind of stream.
type Readers struct {
	most int

	mu      sync.Mutex
	now     int
	callers map[string]int
}

// NewReaders allows so many at a time.
func NewReaders(most int) *Readers { return &Readers{most: most, callers: map[string]int{}} }

type callerKey struct{}

// WithCaller says whose a request is, for streams that it asks for.
func WithCaller(r *http.Request, caller string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, caller))
}

// Network is the /24 or /64 of an address, which stand for a caller of whom nothing else is
// known.
func Network(addr netip.Addr) string {
	bits := 64
	if addr = addr.Unmap().WithZone(""); addr.Is4() {
		bits = 24
	}
	p, _ := addr.Prefix(bits) // fits both kinds
	return p.String()
}

func callerOf(r *http.Request) string {
	if caller, ok := r.Context().Value(callerKey{}).(string); ok {
		return caller
	}
	ap, _ := netip.ParseAddrPort(r.RemoteAddr)
	return Network(ap.Addr())
}

// Enter counts one more until leave. Who is one too many, of all or of one caller, who has an
// eighth, is told when to come again, and is to be refused.
func (r *Readers) Enter(w http.ResponseWriter, request *http.Request) (leave func(), ok bool) {
	caller := callerOf(request)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now >= r.most || r.callers[caller] >= (r.most+share-1)/share {
		w.Header().Set("Retry-After", "10")
		return func() {}, false
	}
	r.now++
	r.callers[caller]++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.now--
		if r.callers[caller]--; r.callers[caller] == 0 {
			delete(r.callers, caller)
		}
	}, true
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
