package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// scrapeLog takes promhttp's lines. It writes one for each family of metrics that does not
// reach a scraper, some 30 for one who hangs up. What a client does to its own connection
// is nothing that an operator has to know: that is for debug, and a few lines of it.
type scrapeLog struct {
	logger *slog.Logger
	debug  rate.Sometimes
}

func newScrapeLog(logger *slog.Logger) *scrapeLog {
	return &scrapeLog{logger: logger, debug: rate.Sometimes{First: 10, Interval: time.Second}}
}

// Println implements promhttp.Logger.
func (l *scrapeLog) Println(v ...any) {
	say := func(level slog.Level) {
		l.logger.Log(context.Background(), level, "a scrape was not answered whole", "err", strings.TrimSpace(fmt.Sprintln(v...)))
	}
	for _, x := range v {
		if err, ok := x.(error); ok {
			if _, hungUp := errors.AsType[*sendError](err); hungUp {
				l.debug.Do(func() { say(slog.LevelDebug) })
				return
			}
		}
	}
	say(slog.LevelError)
}

// sendError is what became of a client's connection.
type sendError struct{ error }

func (e *sendError) Unwrap() error { return e.error }

// sending tells errors of the connection from those of what is sent.
func sending(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(sender{w}, r) })
}

type sender struct{ http.ResponseWriter }

func (s sender) Write(b []byte) (int, error) {
	n, err := s.ResponseWriter.Write(b)
	if err != nil {
		err = &sendError{err}
	}
	return n, err
}

func (s sender) Unwrap() http.ResponseWriter { return s.ResponseWriter }
