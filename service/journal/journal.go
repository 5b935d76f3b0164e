package journal

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"

	"github.com/turnwarden/turnwarden/service"
)

// keptLines is how many warnings and errors are remembered.
const keptLines = 12

// Journal is a slog.Handler that passes everything on and remembers the last
// warnings and errors. What turnserver says does not belong in it: clients choose
// parts of that.
type Journal struct {
	next   slog.Handler
	part   string
	detail string // the attributes of all its lines
	kept   *keptJournal
}

type keptJournal struct {
	mu    sync.Mutex
	lines []service.Line // newest first; never changed once it is out
}

// New returns a journal that passes everything on to next.
func New(next slog.Handler) *Journal { return &Journal{next: next, kept: &keptJournal{}} }

// Lines returns what is remembered, newest first.
func (j *Journal) Lines() []service.Line {
	j.kept.mu.Lock()
	defer j.kept.mu.Unlock()
	return j.kept.lines
}

// Enabled implements slog.Handler: a warning is remembered even where it is not logged.
func (j *Journal) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn || j.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (j *Journal) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		detail := j.detail
		r.Attrs(func(a slog.Attr) bool {
			detail += describe(a)
			return true
		})
		line := service.Line{At: r.Time, Level: r.Level, Part: j.part, Text: r.Message, Detail: ourUsername.ReplaceAllString(strings.TrimSpace(detail), "tw-***")}
		j.kept.mu.Lock()
		j.kept.lines = append([]service.Line{line}, j.kept.lines[:min(len(j.kept.lines), keptLines-1)]...)
		j.kept.mu.Unlock()
	}
	if !j.next.Enabled(ctx, r.Level) {
		return nil
	}
	return j.next.Handle(ctx, r)
}

// ourUsername is no secret, and nobody's business all the same.
var ourUsername = regexp.MustCompile(`tw-[0-9a-f]{10}-[A-Za-z0-9]+`)

func describe(a slog.Attr) string {
	v := a.Value.Resolve().String()
	if strings.ContainsAny(v, " =\"") && a.Key != "err" {
		return fmt.Sprintf(" %s=%q", a.Key, v)
	}
	return " " + a.Key + "=" + v
}

// WithAttrs implements slog.Handler.
func (j *Journal) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *j
	with.next = j.next.WithAttrs(attrs)
	for _, a := range attrs {
		if a.Key == "part" {
			with.part = a.Value.String()
		} else {
			with.detail += describe(a)
		}
	}
	return &with
}

// WithGroup implements slog.Handler. Nobody here groups.
func (j *Journal) WithGroup(name string) slog.Handler {
	with := *j
	with.next = j.next.WithGroup(name)
	return &with
}

// Save returns what a successor needs.
func (j *Journal) Save() []service.Line { return j.Lines() }

// Restore begins with the lines of an earlier image.
func (j *Journal) Restore(lines []service.Line) { j.kept.lines = lines }
