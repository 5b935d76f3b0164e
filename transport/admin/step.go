package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/sys/unix"

	"github.com/turnwarden/turnwarden/service"
)

// Step is one line of a reply.
type Step struct {
	Step    string  `json:"step,omitempty"`
	Detail  string  `json:"detail,omitempty"`
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error,omitempty"`
	Passing bool    `json:"passing,omitempty"` // the next line replaces this one
	Done    bool    `json:"done,omitempty"`    // the last line; Error is the outcome
	Cut     int     `json:"cut,omitempty"`     // with Done: so many calls were ended by a deadline
	Refused bool    `json:"refused,omitempty"` // with Done: nothing was done
}

// stream takes a request and writes each step as it is done, for an operator who waits for it.
func stream[Req any](f func(ctx context.Context, r Req, by string, report func(service.Step)) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer := r.Context().Value(peerKey{}).(*unix.Ucred) // onlyUs has seen it
		w.Header().Set("Content-Type", "application/x-ndjson")
		enc := json.NewEncoder(w)
		flush := http.NewResponseController(w)
		write := func(s Step) {
			_ = enc.Encode(s) // who has hung up is not told the rest; what was asked goes on
			_ = flush.Flush()
		}
		var req Req
		dec := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 64<<10))
		dec.DisallowUnknownFields()
		err := dec.Decode(&req)
		if err != nil {
			err = fmt.Errorf("read the request: %w", err)
		} else {
			err = f(r.Context(), req, fmt.Sprintf("uid %d", peer.Uid), func(s service.Step) {
				write(Step{Step: s.Name, Detail: s.Detail, Seconds: s.Took.Seconds(), Error: text(s.Err), Passing: s.Passing})
			})
		}
		last := Step{Done: true, Error: text(err)}
		if cut, ok := errors.AsType[*service.CutError](err); ok {
			last.Cut = cut.Calls
		}
		_, last.Refused = errors.AsType[*service.RefusedError](err)
		write(last)
	})
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
