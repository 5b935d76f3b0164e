package page

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/turnwarden/turnwarden/transport/sse"
)

// What a viewer costs is bounded in how often the page is rendered, too.
const (
	maxViewers = 64
	every      = time.Second
)

// Events streams what changes on the page, as server-sent events: each is the main
// part of the page, rendered anew. A stream ends with the context of its request.
func Events(build func() Page) http.Handler {
	all := templates()
	// To a reader of events a carriage return ends a line, too; somebody else may have put it
	// into a text of the page.
	lines := strings.NewReplacer("\n", "\ndata: ", "\r", "&#13;")
	viewers := sse.NewReaders(maxViewers)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leave, ok := viewers.Enter(w, r)
		defer leave()
		if !ok {
			http.Error(w, "too many viewers; reload the page instead", http.StatusServiceUnavailable)
			return
		}
		stream := sse.Open(w)
		tick := time.NewTicker(every)
		defer tick.Stop()
		var last []byte
		sent := time.Now()
		for {
			var b bytes.Buffer
			if err := all.ExecuteTemplate(&b, "main", build()); err != nil {
				return // the view says why
			}
			event := []byte(sse.StillHere)
			if fresh := !bytes.Equal(b.Bytes(), last); fresh {
				last = b.Bytes()
				event = fmt.Appendf(nil, "event: page\ndata: %s\n\n", lines.Replace(string(last)))
			} else if time.Since(sent) < sse.Heartbeat {
				event = nil
			}
			if event != nil {
				sent = time.Now()
				if stream.Send(event) != nil {
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
