package host

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"time"

	"golang.org/x/time/rate"
)

// httpLog takes the lines of an http.Server, which it writes to stderr by itself, in a form
// of its own. Strangers decide how many there are of most, a failed TLS handshake each: a few
// of a second are enough.
type httpLog struct {
	logger      *slog.Logger
	ours, their rate.Sometimes
}

// NewHTTPLog returns a log for an http.Server.
func NewHTTPLog(logger *slog.Logger) *log.Logger {
	few := func() rate.Sometimes { return rate.Sometimes{First: 20, Interval: time.Second} }
	return log.New(&httpLog{logger, few(), few()}, "", 0)
}

// Write implements io.Writer.
func (l *httpLog) Write(line []byte) (int, error) {
	level, some := slog.LevelDebug, &l.their
	if bytes.HasPrefix(line, []byte("http: panic")) || bytes.HasPrefix(line, []byte("http: Accept error")) { // our own doing
		level, some = slog.LevelError, &l.ours
	}
	some.Do(func() { l.logger.Log(context.Background(), level, "HTTP server", "err", string(bytes.TrimSpace(line))) })
	return len(line), nil
}
