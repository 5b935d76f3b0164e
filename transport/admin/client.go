package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/turnwarden/turnwarden/service"
)

// Client asks a running turnwarden, over its admin socket.
type Client struct{ client http.Client }

// NewClient returns the client of the turnwarden that listens on the socket.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err != nil {
			return nil, fmt.Errorf("%w; is turnwarden running, is this its admin.socket (--socket names another), and are you root or its user?", err)
		}
		if err := checkListener(c, socket); err != nil {
			_ = c.Close()
			return nil, err
		}
		return c, nil
	}
	return &Client{client: http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Rotate publishes a new credential now. Each step is told to report as it is done.
func (c *Client) Rotate(ctx context.Context, report func(Step)) error {
	return c.post(ctx, pathRotate, struct{}{}, report)
}

// Upgrade has turnwarden become the version that is installed now, and go on.
func (c *Client) Upgrade(ctx context.Context, report func(Step)) error {
	return c.post(ctx, pathUpgrade, struct{}{}, report)
}

// Revoke takes credentials out of use at once.
func (c *Client) Revoke(ctx context.Context, r service.RevokeRequest, report func(Step)) error {
	return c.post(ctx, pathRevoke, r, report)
}

// Maintenance takes the node out of the list, or ends that.
func (c *Client) Maintenance(ctx context.Context, on bool, report func(Step)) error {
	return c.post(ctx, pathMaintenance, maintenanceRequest{on}, report)
}

// Drain empties the node. The error is a *service.CutError where the limit has ended calls.
func (c *Client) Drain(ctx context.Context, r service.DrainRequest, report func(Step)) error {
	return c.post(ctx, pathDrain, r, report)
}

// Reload has the files looked at again. The error is a *service.RefusedError where they
// have mistakes, as it is of a Drain that is to start turnserver with such files.
func (c *Client) Reload(ctx context.Context, r service.ReloadRequest, report func(Step)) error {
	return c.post(ctx, pathReload, r, report)
}

// Resume ends a drain, as far as that can be.
func (c *Client) Resume(ctx context.Context, report func(Step)) error {
	return c.post(ctx, pathResume, struct{}{}, report)
}

func (c *Client) post(ctx context.Context, path string, request any, report func(Step)) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	answer, err := c.do(ctx, http.MethodPost, path, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	dec := json.NewDecoder(answer)
	for {
		var s Step
		if err := dec.Decode(&s); err != nil {
			return fmt.Errorf("the answer ended early; turnwarden's log says what was done: %w", err)
		}
		switch {
		case s.Done && s.Cut > 0:
			return &service.CutError{Calls: s.Cut}
		case s.Done && s.Refused:
			return &service.RefusedError{Err: errors.New(s.Error)}
		case s.Done && s.Error != "":
			return errors.New(s.Error)
		case s.Done:
			return nil
		}
		report(s)
	}
}

func (c *Client) do(ctx context.Context, method, path string, body []byte) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://turnwarden"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask turnwarden: %w", errors.Unwrap(err)) // *url.Error: its URL says nothing here
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		reason, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		return nil, fmt.Errorf("turnwarden says %s: %s", resp.Status, strings.TrimSpace(string(reason)))
	}
	return resp.Body, nil
}
