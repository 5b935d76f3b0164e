package service

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"github.com/turnwarden/turnwarden/service/coturn"
)

// logRate bounds the child's lines that are copied to our log: one bad relay
// address makes turnserver write 131,070 lines per Allocate.
const (
	logRate  = 20 // lines a second
	logBurst = 200
)

// SessionCounts is what the child's log has told since turnwarden started.
type SessionCounts struct {
	coturn.SessionTotals
	Suppressed uint64 // lines that were counted but not logged
}

// ChildLog counts what the child writes and copies what a person should see.
// It never waits: a reader that does not keep up stops the whole TURN server.
type ChildLog struct {
	logger *slog.Logger
	limit  *rate.Limiter

	mu         sync.Mutex
	sessions   *coturn.Sessions
	suppressed uint64
}

// NewChildLog returns a log that writes to logger.
func NewChildLog(logger *slog.Logger) *ChildLog {
	return &ChildLog{logger: logger, limit: rate.NewLimiter(logRate, logBurst), sessions: coturn.NewSessions()}
}

// Stdout takes one line of the log proper. The line is the reader's again when
// it returns.
func (l *ChildLog) Stdout(line []byte) {
	parsed := coturn.ParseLine(line)
	level := parsed.Level
	if parsed.Kind.PerClient() {
		level = slog.LevelDebug
	}
	l.mu.Lock()
	l.sessions.Feed(parsed, time.Now())
	l.mu.Unlock()
	l.copy(level, parsed.Message)
}

// Stderr takes one line of what libc's perror and the usage text say.
func (l *ChildLog) Stderr(line []byte) { l.copy(slog.LevelWarn, line) }

// copy logs a line under the rate cap.
func (l *ChildLog) copy(level slog.Level, message []byte) {
	if len(message) == 0 || !l.logger.Enabled(context.Background(), level) {
		return
	}
	if !l.limit.Allow() {
		l.mu.Lock()
		l.suppressed++
		l.mu.Unlock()
		return
	}
	l.logger.Log(context.Background(), level, "turnserver", "line", printable(message))
}

// printable escapes what a terminal would act on: clients choose parts of a line,
// and slog's JSON lets some of it through.
func printable(message []byte) string {
	s := string(message)
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		s = strconv.Quote(s)
		s = s[1 : len(s)-1]
	}
	return s
}

// NewRun forgets the open sessions of the child before: they ended with it.
func (l *ChildLog) NewRun() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions.Reset()
}

// Sessions returns the counts as they stand.
func (l *ChildLog) Sessions() SessionCounts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return SessionCounts{SessionTotals: l.sessions.Totals(), Suppressed: l.suppressed}
}
