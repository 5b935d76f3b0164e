package page

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// What a viewer costs is bounded: in number, in how often the page is rendered, and
// in how long one that does not read is waited for.
const (
	maxViewers = 32
	every      = time.Second
	patience   = 10 * time.Second
	heartbeat  = 15 * time.Second // proxies close what is silent
)

// Events streams what changes on the page, as server-sent events: each is the main
// part of the page, rendered anew. A stream ends with the context of its request.
func Events(build func() Page) http.Handler {
	all := templates()
	// To a reader of events a carriage return ends a line, too; somebody else may have put it
	// into a text of the page.
	lines := strings.NewReplacer("\n", "\ndata: ", "\r", "&#13;")
	var viewers atomic.Int32
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer viewers.Add(-1)
		if viewers.Add(1) > maxViewers {
			w.Header().Set("Retry-After", "10")
			http.Error(w, "too many viewers; reload the page instead", http.StatusServiceUnavailable)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Accel-Buffering", "no") // nginx would keep the events to itself
		stream := http.NewResponseController(w)
		tick := time.NewTicker(every)
		defer tick.Stop()
		var last []byte
		sent := time.Now()
		for {
			var b bytes.Buffer
			if err := all.ExecuteTemplate(&b, "main", build()); err != nil {
				return // the view says why
			}
			event := []byte(": still here\n\n")
			if fresh := !bytes.Equal(b.Bytes(), last); fresh {
				last = b.Bytes()
				event = fmt.Appendf(nil, "event: page\ndata: %s\n\n", lines.Replace(string(last)))
			} else if time.Since(sent) < heartbeat {
				event = nil
			}
			if event != nil {
				sent = time.Now()
				// The server bounds a whole reply; this one has no end.
				if stream.SetWriteDeadline(sent.Add(patience)) != nil {
					return
				}
				if _, err := w.Write(event); err != nil || stream.Flush() != nil {
					return
				}
			}
			select {
			case <-r.Context().Done():
				return
			case <-tick.C:
			}
		}
	})
}
