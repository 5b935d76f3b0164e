package main

import (
	"bytes"
	"context"
	"log"
	"log/slog"
)

// httpLog takes the lines of an http.Server, which it writes to stderr by itself, in a form
// of its own. Strangers decide how many there are of most, a failed TLS handshake each.
type httpLog struct{ logger *slog.Logger }

func newHTTPLog(logger *slog.Logger) *log.Logger { return log.New(httpLog{logger}, "", 0) }

// Write implements io.Writer.
func (l httpLog) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	if bytes.HasPrefix(line, []byte("http: panic")) || bytes.HasPrefix(line, []byte("http: Accept error")) { // our own doing
		level = slog.LevelError
	}
	l.logger.Log(context.Background(), level, "HTTP server", "err", string(bytes.TrimSpace(line)))
	return len(line), nil
}
