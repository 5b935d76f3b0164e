package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/transport"
)

// What an operator may look at, GET each. Logs are lines of text: the last ?lines, and
// with ?follow=true those that come, until the caller hangs up.
const (
	pathStatus = "/v1/status"
	pathLogs   = "/v1/logs"
)

// Tail remembers the last lines of the log: Last returns n of them, and those that come
// until stop is called.
type Tail interface {
	Last(n int, follow bool) (lines [][]byte, more <-chan []byte, stop func())
}

// Watched is what the admin socket shows of a running node.
type Watched struct {
	Status func() service.Status
	Log    Tail
	Reload func(ctx context.Context, r service.ReloadRequest, by string, report func(service.Step)) error
}

func (a Watched) logs(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseUint(r.FormValue("lines"), 10, 31)
	if err != nil {
		http.Error(w, "lines: accepted is a whole number", http.StatusBadRequest)
		return
	}
	lines, more, stop := a.Log.Last(int(n), r.FormValue("follow") == "true")
	defer stop()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	out := bufio.NewWriter(w)
	flush := http.NewResponseController(w)
	for _, l := range lines {
		fmt.Fprintf(out, "%s\n", l)
	}
	for more != nil && out.Flush() == nil && flush.Flush() == nil {
		select {
		case l := <-more:
			fmt.Fprintf(out, "%s\n", l)
		case <-r.Context().Done():
			return
		}
	}
	_ = out.Flush() // who has hung up is not told the rest
}

// Status returns where the node stands.
func (c *Client) Status(ctx context.Context) (s transport.Status, err error) {
	body, err := c.do(ctx, http.MethodGet, pathStatus, nil)
	if err != nil {
		return s, err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(&s); err != nil {
		return s, fmt.Errorf("read the status: %w", err)
	}
	return s, nil
}

// Logs copies the last lines of the log to w, and with follow what comes after them until
// ctx ends.
func (c *Client) Logs(ctx context.Context, lines uint, follow bool, w io.Writer) error {
	body, err := c.do(ctx, http.MethodGet, pathLogs+"?"+url.Values{"lines": {strconv.FormatUint(uint64(lines), 10)}, "follow": {strconv.FormatBool(follow)}}.Encode(), nil)
	if err != nil {
		return err
	}
	defer body.Close()
	log := bufio.NewReaderSize(body, 64<<10)
	for {
		line, err := log.ReadSlice('\n') // whole lines, so that whoever prints them finds whole characters
		if len(line) > 0 {
			if _, err := w.Write(line); err != nil {
				return fmt.Errorf("pass the log on: %w", err)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("read the log: %w", err)
		}
	}
}
