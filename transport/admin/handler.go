package admin

import (
	"context"
	"net/http"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/transport"
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

// The routes of the admin socket, POST each. The reply is a stream of Step, one
// JSON object a line, of which the last has Done set.
const (
	pathRotate      = "/v1/rotate"
	pathRevoke      = "/v1/revoke"
	pathMaintenance = "/v1/maintenance"
	pathDrain       = "/v1/drain"
	pathResume      = "/v1/resume"
	pathReload      = "/v1/reload"
)

// NewHandler serves the admin socket to root and to our own user.
func NewHandler(o Operator, watched Watched) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+pathStatus, transport.StatusHandler(watched.Status))
	mux.HandleFunc("GET "+pathLogs, watched.logs)
	bare := func(f func(ctx context.Context, by string, report func(service.Step)) error) http.Handler {
		return stream(func(ctx context.Context, _ struct{}, by string, report func(service.Step)) error {
			return f(ctx, by, report)
		})
	}
	mux.Handle("POST "+pathReload, stream(watched.Reload))
	mux.Handle("POST "+pathRotate, bare(o.Rotate))
	mux.Handle("POST "+pathRevoke, stream(o.Revoke))
	mux.Handle("POST "+pathMaintenance, stream(func(ctx context.Context, r maintenanceRequest, by string, report func(service.Step)) error {
		return o.Maintenance(ctx, r.On, by, report)
	}))
	mux.Handle("POST "+pathDrain, stream(o.Drain))
	mux.Handle("POST "+pathResume, bare(o.Resume))
	handleUsers(mux, o)
	return onlyUs(mux)
}

type maintenanceRequest struct{ On bool }
