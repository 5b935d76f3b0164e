package transport

import (
	"context"

	"github.com/go-kit/kit/endpoint"

	"github.com/turnwarden/turnwarden/service"
)

// Endpoints are the methods of service.Service and service.Picker, one field each.
type Endpoints struct {
	Credential endpoint.Endpoint
	Pick       endpoint.Endpoint // nil = of one node there is nothing to pick
}

// NewEndpoints makes the endpoints of svc.
func NewEndpoints(svc service.Service) Endpoints {
	e := Endpoints{Credential: method(svc.Credential)}
	if p, ok := svc.(service.Picker); ok {
		e.Pick = method(p.Pick)
	}
	return e
}

// method is a typed service method as an endpoint: the one type assertion.
func method[Req, Resp any](f func(context.Context, Req) (Resp, error)) endpoint.Endpoint {
	return func(ctx context.Context, request any) (any, error) { return f(ctx, request.(Req)) }
}
