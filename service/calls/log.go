package calls

import (
	"context"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/coturn"
)

// logRate bounds the child's lines that are copied to our log: one bad relay
// address makes turnserver write 131,070 lines per Allocate.
const (
	logRate  = 20 // lines a second
	logBurst = 200
)

// logQueue is how many lines wait for a log that does not take them. Then they are
// dropped, for the child must not wait.
const logQueue = 256

// logGrace is how long the end of a run waits for the lines that are still queued.
const logGrace = time.Second

// Log counts what the child writes and copies what a person should see.
// It never waits: a reader that does not keep up stops the whole TURN server.
type Log struct {
	logger *slog.Logger
	limit  *rate.Limiter
	queue  chan logLine

	suppressed, dropped atomic.Uint64

	mu       sync.Mutex
	sessions *coturn.Sessions
}

type logLine struct {
	level slog.Level
	text  string
}

// NewLog returns a log whose Run writes to logger.
func NewLog(logger *slog.Logger) *Log {
	return &Log{
		logger: logger, limit: rate.NewLimiter(logRate, logBurst), queue: make(chan logLine, logQueue),
		sessions: coturn.NewSessions(),
	}
}

// Run writes to our log until ctx ends. It alone waits for whoever reads that.
func (l *Log) Run(ctx context.Context) error {
	written := make(chan struct{})
	go func() {
		defer close(written)
		for {
			select {
			case line := <-l.queue:
				l.write(line)
			case <-ctx.Done():
				for len(l.queue) > 0 {
					l.write(<-l.queue)
				}
				return
			}
		}
	}()
	<-ctx.Done()
	select {
	case <-written:
	case <-time.After(logGrace):
	}
	return nil
}

func (l *Log) write(line logLine) {
	l.logger.Log(context.Background(), line.level, "turnserver", "line", line.text)
}

// Stdout takes one line of the log proper. The line is the reader's again when
// it returns.
func (l *Log) Stdout(line []byte) {
	parsed := coturn.ParseLine(line)
	level := parsed.Level
	if parsed.Kind.PerClient() {
		level = slog.LevelDebug
	}
	now := time.Now()
	l.mu.Lock()
	l.sessions.Feed(parsed, now)
	l.mu.Unlock()
	l.copy(level, parsed.Message)
}

// Stderr takes one line of what libc's perror and the usage text say.
func (l *Log) Stderr(line []byte) { l.copy(slog.LevelWarn, line) }

// copy queues a line for our log, under the rate cap.
func (l *Log) copy(level slog.Level, message []byte) {
	if len(message) == 0 || !l.logger.Enabled(context.Background(), level) {
		return
	}
	if !l.limit.Allow() {
		l.suppressed.Add(1)
		return
	}
	select {
	case l.queue <- logLine{level, printable(message)}:
	default:
		l.dropped.Add(1)
	}
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
func (l *Log) NewRun() { l.with((*coturn.Sessions).Reset) }

// Asked is told the address from which a probe of our own is about to ask the child.
func (l *Log) Asked(local netip.AddrPort) {
	l.with(func(s *coturn.Sessions) { s.Asked(local, time.Now()) })
}

// Refused is told that a probe of our own got this error code from the child; the
// challenge that every client gets is none.
func (l *Log) Refused(code int) { l.with(func(s *coturn.Sessions) { s.Refused(code) }) }

// known is how many allocations there are by the log.
func (l *Log) known() (n int) {
	l.with(func(s *coturn.Sessions) { n = s.Known() })
	return n
}

func (l *Log) with(use func(*coturn.Sessions)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	use(l.sessions)
}

// Sessions returns the counts as they stand.
func (l *Log) Sessions() service.SessionCounts {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	return service.SessionCounts{SessionTotals: l.sessions.Totals(now), Suppressed: l.suppressed.Load(), Dropped: l.dropped.Load()}
}
