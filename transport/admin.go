package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"

	"golang.org/x/sys/unix"

	"github.com/turnwarden/turnwarden/service"
)

// Operator is what an operator may ask of a running node. Each call tells what it did
// step by step; its error is the first thing that could not be done or proved.
type Operator interface {
	Rotate(ctx context.Context, by string, report func(service.Step)) error
	Revoke(ctx context.Context, r service.RevokeRequest, by string, report func(service.Step)) error
	Maintenance(ctx context.Context, on bool, by string, report func(service.Step)) error
	Drain(ctx context.Context, r service.DrainRequest, by string, report func(service.Step)) error
	Resume(ctx context.Context, by string, report func(service.Step)) error
	Accounts
}

// The routes of the admin socket, POST each. The reply is a stream of AdminStep, one
// JSON object a line, of which the last has Done set.
const (
	adminRotate      = "/v1/rotate"
	adminRevoke      = "/v1/revoke"
	adminMaintenance = "/v1/maintenance"
	adminDrain       = "/v1/drain"
	adminResume      = "/v1/resume"
	adminReload      = "/v1/reload"
)

// AdminStep is one line of a reply.
type AdminStep struct {
	Step    string  `json:"step,omitempty"`
	Detail  string  `json:"detail,omitempty"`
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error,omitempty"`
	Passing bool    `json:"passing,omitempty"` // the next line replaces this one
	Done    bool    `json:"done,omitempty"`    // the last line; Error is the outcome
	Cut     int     `json:"cut,omitempty"`     // with Done: so many calls were ended by a deadline
	Refused bool    `json:"refused,omitempty"` // with Done: nothing was done
}

type peerKey struct{}

// AdminConnContext keeps who has connected, by the kernel's word, for the handler.
func AdminConnContext(ctx context.Context, c net.Conn) context.Context {
	peer, err := peerOf(c)
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, peer)
}

func peerOf(c net.Conn) (*unix.Ucred, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.New("not a Unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *unix.Ucred
	if controlErr := raw.Control(func(fd uintptr) {
		peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); controlErr != nil {
		return nil, controlErr
	}
	return peer, err
}

// NewAdminHandler serves the admin socket to root and to our own user.
func NewAdminHandler(o Operator, watched Watched) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+adminStatus, statusHandler(watched.Status))
	mux.HandleFunc("GET "+adminLogs, watched.logs)
	bare := func(f func(ctx context.Context, by string, report func(service.Step)) error) http.Handler {
		return stream(func(ctx context.Context, _ struct{}, by string, report func(service.Step)) error {
			return f(ctx, by, report)
		})
	}
	mux.Handle("POST "+adminReload, stream(watched.Reload))
	mux.Handle("POST "+adminRotate, bare(o.Rotate))
	mux.Handle("POST "+adminRevoke, stream(o.Revoke))
	mux.Handle("POST "+adminMaintenance, stream(func(ctx context.Context, r maintenanceRequest, by string, report func(service.Step)) error {
		return o.Maintenance(ctx, r.On, by, report)
	}))
	mux.Handle("POST "+adminDrain, stream(o.Drain))
	mux.Handle("POST "+adminResume, bare(o.Resume))
	handleUsers(mux, o)
	return onlyUs(mux)
}

// onlyUs turns away whoever has got hold of the socket and is neither root nor our user.
func onlyUs(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, ok := r.Context().Value(peerKey{}).(*unix.Ucred)
		if !ok || peer.Uid != 0 && int(peer.Uid) != os.Geteuid() {
			http.Error(w, "only root and the user of turnwarden may use the admin socket", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

type maintenanceRequest struct{ On bool }

// stream takes a request and writes each step as it is done, for an operator who waits for it.
func stream[Req any](f func(ctx context.Context, r Req, by string, report func(service.Step)) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer := r.Context().Value(peerKey{}).(*unix.Ucred) // onlyUs has seen it
		w.Header().Set("Content-Type", "application/x-ndjson")
		enc := json.NewEncoder(w)
		flush := http.NewResponseController(w)
		write := func(s AdminStep) {
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
				write(AdminStep{Step: s.Name, Detail: s.Detail, Seconds: s.Took.Seconds(), Error: text(s.Err), Passing: s.Passing})
			})
		}
		last := AdminStep{Done: true, Error: text(err)}
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
