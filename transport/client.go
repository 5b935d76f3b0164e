package transport

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/go-kit/kit/endpoint"
	kithttp "github.com/go-kit/kit/transport/http"

	"github.com/turnwarden/turnwarden/service"
)

// ClientConfig says who is asked, and as whom. URL is required.
type ClientConfig struct {
	URL          string         // of the API, such as https://turn-1.example.org:13478
	Token        service.Secret // empty = none
	InsecureHTTP bool           // the token may cross a network in the clear
	HTTP         *http.Client   // nil = one that waits for 5 s
}

// Client asks the API of a node or of a gateway, for a signalling server that is written
// in Go. It is a service.Service.
type Client struct{ credential, status endpoint.Endpoint }

// NewClient returns a client that connects when it is asked.
func NewClient(c ClientConfig) (*Client, error) {
	base, err := url.Parse(c.URL)
	if err != nil {
		return nil, errors.New("found a URL that cannot be read; accepted: one such as https://turn-1.example.org:13478") // it may hold a password
	}
	if base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.User != nil || base.RawQuery != "" {
		return nil, fmt.Errorf("found the URL %q; accepted: one such as https://turn-1.example.org:13478, without a user and a query", base.Redacted())
	}
	if c.Token != "" && base.Scheme == "http" && !c.InsecureHTTP && !Loopback(base.Hostname()) {
		return nil, fmt.Errorf("found a token for %s; accepted: https, for the token would cross the network in the clear, or InsecureHTTP", c.URL)
	}
	client := http.Client{Timeout: 5 * time.Second}
	if c.HTTP != nil {
		client = *c.HTTP
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // none of ours redirects
	ask := func(path string, decode kithttp.DecodeResponseFunc) endpoint.Endpoint {
		target := base.JoinPath(path)
		create := func(ctx context.Context, request any) (*http.Request, error) {
			u := *target
			if r, ok := request.(service.CredentialRequest); ok {
				u.RawQuery = query(r)
			}
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
			if err == nil && c.Token != "" {
				r.Header.Set("Authorization", "Bearer "+c.Token.Reveal())
			}
			return r, err
		}
		return kithttp.NewExplicitClient(create, decode, kithttp.SetClient(&client)).Endpoint()
	}
	return &Client{credential: ask("v1/turn", decodeDraft), status: ask("v1/status", decodeStatus)}, nil
}

func query(r service.CredentialRequest) string {
	q := url.Values{"service": {"turn"}}
	if r.UserID != "" {
		q.Set("username", r.UserID)
	}
	if r.TTL != "" {
		q.Set("ttl", r.TTL)
	}
	return q.Encode()
}

// Loopback says whether what a host says to itself goes over no network.
func Loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// Credential implements service.Service. The expiry is that of the server, without its
// part of a second.
func (c *Client) Credential(ctx context.Context, r service.CredentialRequest) (service.Credential, error) {
	reply, err := c.credential(ctx, r)
	if err != nil {
		return service.Credential{}, fmt.Errorf("ask for a credential: %w", cause(err))
	}
	return reply.(service.Credential), nil
}

// Status tells of a node, by GET /v1/status.
func (c *Client) Status(ctx context.Context) (Status, error) {
	reply, err := c.status(ctx, nil)
	if err != nil {
		return Status{}, fmt.Errorf("ask for the status: %w", cause(err))
	}
	return reply.(Status), nil
}

// cause leaves out the URL, which may name a client.
func cause(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// ResponseError is an answer that is none. It is also service.ErrNoCredential or
// service.ErrBadRequest where the server has said so.
type ResponseError struct {
	Code       int
	Detail     string
	RetryAfter time.Duration // 0 = not said
}

func (e *ResponseError) Error() string { return fmt.Sprintf("%d %s", e.Code, e.Detail) }

// Is is for errors.Is.
func (e *ResponseError) Is(target error) bool {
	return target == service.ErrNoCredential && e.Code == http.StatusServiceUnavailable || target == service.ErrBadRequest && e.Code == http.StatusBadRequest
}

// maxReply is many times what a reply has.
const maxReply = 256 << 10

// read decodes a reply of ours, or the problem that came instead.
func read(r *http.Response, to any) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxReply))
	if err != nil {
		return fmt.Errorf("read the reply: %w", err)
	}
	if r.StatusCode == http.StatusOK {
		if err := json.Unmarshal(body, to); err != nil {
			return fmt.Errorf("this is no reply of turnwarden's API: %w", err)
		}
		return nil
	}
	var problem struct{ Detail string }
	_ = json.Unmarshal(body, &problem) // a proxy may have answered
	seconds, _ := strconv.Atoi(r.Header.Get("Retry-After"))
	return &ResponseError{r.StatusCode, cmp.Or(problem.Detail, http.StatusText(r.StatusCode)), time.Duration(seconds) * time.Second}
}

func decodeDraft(_ context.Context, r *http.Response) (any, error) {
	var reply struct {
		Username, Password string
		URIs               []string
	}
	if err := read(r, &reply); err != nil {
		return nil, err
	}
	expires, err := http.ParseTime(r.Header.Get("Expires"))
	if err != nil || reply.Username == "" || reply.Password == "" {
		return nil, errors.New("this is no reply of turnwarden's API: a username, a password or the header Expires is missing")
	}
	return service.Credential{Username: reply.Username, Password: service.Secret(reply.Password), Expires: expires, URIs: reply.URIs}, nil
}

func decodeStatus(_ context.Context, r *http.Response) (any, error) {
	var s Status
	err := read(r, &s)
	return s, err
}
