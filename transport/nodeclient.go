package transport

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-kit/kit/endpoint"
	kithttp "github.com/go-kit/kit/transport/http"

	"github.com/turnwarden/turnwarden/service"
)

// NodeAccess says how nodes are asked.
type NodeAccess struct {
	Allow        []netip.Prefix // addresses that may be asked; none = loopback and private ones
	Names        []string       // hosts that are shown the token, and asked where there is one
	Prefixes     []netip.Prefix // the same, by their addresses
	TLS          *tls.Config    // whom to believe, and what to show; nil = the system's authorities
	InsecureHTTP bool           // the token may go over plain HTTP
}

// NodeClient asks nodes for credentials. Whoever can write to ZooKeeper can write a
// record, so that an address is looked at when the connection to it is made, after its
// name was resolved, and a token goes only to who proves to be the host of the record.
type NodeClient struct {
	access NodeAccess
	token  atomic.Pointer[service.Secret]
	ask    endpoint.Endpoint
	client *http.Client
}

var (
	errForbidden = errors.New("an address outside gateway.node.allow_cidrs")
	errUnnamed   = errors.New("a host that is not in gateway.node.hosts")
)

// names says whether the token may be shown to the host of a record: TLS proves later that
// it is that host, and nothing but the list that it is one of ours.
func (a NodeAccess) names(restAddr string) bool {
	host, _, _ := net.SplitHostPort(restAddr)
	if addr, err := netip.ParseAddr(host); err == nil {
		return within(addr.Unmap().WithZone(""), a.Prefixes)
	}
	host = strings.TrimSuffix(host, ".")
	return slices.ContainsFunc(a.Names, func(name string) bool { return strings.EqualFold(strings.TrimSuffix(name, "."), host) })
}

// NewNodeClient returns a client without a token.
func NewNodeClient(a NodeAccess) *NodeClient {
	c := &NodeClient{access: a}
	dialer := &net.Dialer{Timeout: time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil || !a.Allows(ap.Addr()) {
			return errForbidden
		}
		return nil
	}}
	c.client = &http.Client{
		// No proxy: it would be asked to connect to what we may not.
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: a.TLS, TLSHandshakeTimeout: time.Second,
			MaxConnsPerHost: 64, MaxIdleConnsPerHost: 4, MaxIdleConns: 1024, IdleConnTimeout: 90 * time.Second,
			MaxResponseHeaderBytes: 16 << 10, DisableCompression: true,
		},
		// Nor anything that a node names instead of answering.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.ask = kithttp.NewExplicitClient(c.request, decodeNodeReply, kithttp.SetClient(clocked{c.client})).Endpoint()
	return c
}

// Allows implements gateway.NodeClient.
func (c *NodeClient) Allows(addr netip.Addr) bool { return c.access.Allows(addr) }

// Allows says whether a node may be asked at an address.
func (a NodeAccess) Allows(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if len(a.Allow) == 0 {
		return addr.IsLoopback() || addr.IsPrivate()
	}
	return within(addr, a.Allow)
}

// SetToken is what nodes are shown from now on; "" = nothing.
func (c *NodeClient) SetToken(token service.Secret) { c.token.Store(&token) }

// Close ends the connections that are kept.
func (c *NodeClient) Close() { c.client.CloseIdleConnections() }

// clocked is a client that compares clocks.
type clocked struct{ *http.Client }

// measuredKey is where a request has who wants to know by how much its answerer's clock is
// ahead of ours.
type measuredKey struct{}

// Do implements kithttp.HTTPClient. A Date has whole seconds, and was written halfway
// between the question and the answer.
func (c clocked) Do(r *http.Request) (*http.Response, error) {
	began := time.Now()
	resp, err := c.Client.Do(r)
	if err != nil {
		return nil, err
	}
	measured, wanted := r.Context().Value(measuredKey{}).(func(time.Duration))
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil && wanted {
		measured(date.Add(500 * time.Millisecond).Sub(began.Add(time.Since(began) / 2)))
	}
	return resp, nil
}

type nodeRequest struct {
	node    service.Server
	request service.CredentialRequest
}

// Credential implements gateway.NodeClient.
func (c *NodeClient) Credential(ctx context.Context, n service.Server, r service.CredentialRequest, measured func(ahead time.Duration)) (service.Credential, error) {
	ctx = context.WithValue(ctx, measuredKey{}, measured)
	answer, err := c.ask(ctx, nodeRequest{n, r})
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // its URL may name a client
		}
		return service.Credential{}, fmt.Errorf("ask %s at %s: %w", n.Name, n.RESTAddr, err)
	}
	return answer.(service.Credential), nil
}

// request implements kithttp.CreateRequestFunc.
func (c *NodeClient) request(ctx context.Context, request any) (*http.Request, error) {
	r := request.(nodeRequest)
	target := url.URL{Scheme: "http", Host: r.node.RESTAddr, Path: "/turncredential"}
	if r.node.RESTScheme == "https" {
		target.Scheme = "https"
	}
	q := url.Values{}
	if r.request.UserID != "" {
		q.Set("userid", r.request.UserID)
	}
	if r.request.TTL != "" {
		q.Set("ttl", r.request.TTL)
	}
	target.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "turnwarden-gateway")
	if token := c.token.Load(); token != nil && *token != "" {
		if !c.access.names(r.node.RESTAddr) {
			return nil, errUnnamed
		}
		if target.Scheme != "https" && !c.access.InsecureHTTP {
			return req, nil
		}
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	return req, nil
}

// maxNodeReply is many times what a reply has.
const maxNodeReply = 16 << 10

// decodeNodeReply implements kithttp.DecodeResponseFunc.
func decodeNodeReply(_ context.Context, resp *http.Response) (any, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxNodeReply))
	if err != nil {
		return nil, err
	}
	var reply struct {
		Code        string `json:"code"`
		Message     string `json:"message"`
		UserID      string `json:"userid"`
		Password    string `json:"password"`
		ExpiredTime int64  `json:"expired_time"`
	}
	err = json.Unmarshal(body, &reply)
	switch resp.StatusCode {
	case http.StatusOK:
		if err != nil || reply.Code != "ok" || reply.UserID == "" || reply.Password == "" || reply.ExpiredTime <= 0 {
			return nil, errors.New("its reply is no credential")
		}
		return service.Credential{
			Username: reply.UserID, Password: service.Secret(reply.Password), Expires: time.UnixMilli(reply.ExpiredTime),
		}, nil
	case http.StatusBadRequest:
		// What it said may go to the one who asked us. A server of another kind says 400, too, as
		// one does that is spoken to over plain HTTP and speaks TLS.
		if message, ours := strings.CutPrefix(fmt.Sprintf("%.200s", reply.Message), service.ErrBadRequest.Error()+": "); ours && reply.Code == "error" {
			return nil, fmt.Errorf("%w: %s", service.ErrBadRequest, message)
		}
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, fmt.Errorf("it says %s; check gateway.node.token_file, which is sent only over TLS or with gateway.node.insecure_http, and the node's api.allow_cidrs", resp.Status)
	}
	return nil, fmt.Errorf("it says %.80s", resp.Status)
}
