package journal_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/journal"
)

func TestJournal(t *testing.T) {
	var out bytes.Buffer
	kept := journal.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelError}))
	logger := slog.New(kept).With("part", "credential", "generation", 7)
	logger.Info("not kept")
	logger.Warn("kept, though it is not logged", "reason", "two words")
	logger.Error("both", "err", errors.New(`add user tw-0123456789-ABCDEFGHIJKLMNOPQRSTUVWXYZ: "denied"`), "password", credential.Secret("hunter2"))
	lines := kept.Lines()
	if len(lines) != 2 {
		t.Fatalf("%d lines: %+v", len(lines), lines)
	}
	for i, want := range []service.Line{
		{Level: slog.LevelError, Part: "credential", Text: "both", Detail: `generation=7 err=add user tw-***: "denied" password=***`},
		{Level: slog.LevelWarn, Part: "credential", Text: "kept, though it is not logged", Detail: `generation=7 reason="two words"`},
	} {
		got := lines[i]
		if got.At.IsZero() {
			t.Errorf("line %d has no time", i)
		}
		if want.At = got.At; got != want {
			t.Errorf("line %d:\n got %+v\nwant %+v", i, got, want)
		}
	}
	if logged := out.String(); strings.Count(logged, "\n") != 1 || !strings.Contains(logged, "level=ERROR msg=both part=credential generation=7 err=") {
		t.Errorf("logged\n%s", logged)
	}
	for i := range 100 {
		logger.Warn("again", "failures", i)
	}
	if later := kept.Lines(); len(later) != 12 || later[0].Detail != "generation=7 failures=99" || later[11].Detail != "generation=7 failures=88" || lines[0].Text != "both" {
		t.Errorf("after 100 more: %+v", later)
	}
}
