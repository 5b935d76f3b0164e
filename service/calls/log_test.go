package calls_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/turnwarden/turnwarden/service/calls"
	"github.com/turnwarden/turnwarden/service/coturn"
)

const (
	sessionLine = "1: : session 000000000000000001: new, realm=<example.org>, username=<alice>, lifetime=600"
	secondLine  = "1: : session 001000000000000001: new, realm=<example.org>, username=<alice>, lifetime=600"
	bindLine    = "7: : Trying to bind fd 29 to <10.9.9.9:49152>: errno=99"
)

func TestLogLevels(t *testing.T) {
	for name, c := range map[string]struct {
		level slog.Level
		line  string
		want  string // "" = not logged
	}{
		"information":              {slog.LevelInfo, "0: : Relay address to use: 10.0.0.5", `level=INFO msg=turnserver line="Relay address to use: 10.0.0.5"`},
		"warning":                  {slog.LevelInfo, "0: : WARNING: cannot open this", `level=WARN msg=turnserver line="cannot open this"`},
		"error":                    {slog.LevelInfo, "0: : ERROR: cannot open that", `level=ERROR msg=turnserver line="cannot open that"`},
		"error of 4.17":            {slog.LevelInfo, "2026-11-22T16:05:26.533+0000 ERROR cannot open that", `level=ERROR msg=turnserver line="cannot open that"`},
		"information, errors only": {slog.LevelError, "0: : Relay address to use: 10.0.0.5", ""},
		"banner":                   {slog.LevelInfo, "RFC 3489/5389/5766 STUN/TURN Server", `level=INFO msg=turnserver line="RFC 3489/5389/5766 STUN/TURN Server"`},
		"session":                  {slog.LevelInfo, sessionLine, ""},
		"session at debug":         {slog.LevelDebug, sessionLine, `level=DEBUG msg=turnserver line="session 000000000000000001: new, realm=<example.org>, username=<alice>, lifetime=600"`},
		"client's error":           {slog.LevelInfo, "4: : ERROR: check_stun_auth: Cannot find credentials of user <eve>", ""},
		"client's error at debug":  {slog.LevelDebug, "4: : ERROR: check_stun_auth: Cannot find credentials of user <eve>", `level=DEBUG msg=turnserver line="check_stun_auth: Cannot find credentials of user <eve>"`},
		"port that is not ours":    {slog.LevelInfo, bindLine, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			log := calls.NewLog(logger(&out, c.level))
			write(t, log, func() { log.Stdout([]byte(c.line)) })
			if got := strings.TrimSpace(out.String()); got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}

// write has a log's Run write what feed gives it, and ends it.
func write(t *testing.T, log *calls.Log, feed func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- log.Run(ctx) }()
	feed()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// logger writes text without times.
func logger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func TestLogStderr(t *testing.T) {
	var out bytes.Buffer
	log := calls.NewLog(logger(&out, slog.LevelInfo))
	write(t, log, func() { log.Stderr([]byte("bind: Address already in use")) })
	if got, want := out.String(), "level=WARN msg=turnserver line=\"bind: Address already in use\"\n"; got != want {
		t.Errorf("got %s want %s", got, want)
	}
}

// TestLogStorm feeds what turnserver writes for one Allocate with a relay
// address that is not ours. Nothing may wait: in the bubble any wait would show
// as time.
func TestLogStorm(t *testing.T) {
	const storm = 131_070
	for name, c := range map[string]struct {
		level      slog.Level
		line       string
		logged     int
		suppressed uint64
	}{
		"at info it is only counted": {slog.LevelInfo, bindLine, 0, 0},
		"at debug":                   {slog.LevelDebug, bindLine, 200, storm - 200},
		"of errors":                  {slog.LevelInfo, "7: : ERROR: something new", 200, storm - 200},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				log := calls.NewLog(logger(&out, c.level))
				begin := time.Now()
				write(t, log, func() {
					for range storm {
						log.Stdout([]byte(c.line))
					}
				})
				if waited := time.Since(begin); waited > 0 {
					t.Errorf("waited %v", waited)
				}
				lines := uint64(0)
				got := log.Sessions()
				for _, n := range got.Lines {
					lines += n
				}
				if lines != storm || got.Suppressed != c.suppressed || strings.Count(out.String(), "\n") != c.logged {
					t.Errorf("counted %d, suppressed %d, logged %d; want %d, %d, %d",
						lines, got.Suppressed, strings.Count(out.String(), "\n"), storm, c.suppressed, c.logged)
				}

				time.Sleep(time.Second)
				out.Reset()
				write(t, log, func() {
					for range 100 {
						log.Stderr([]byte("still at it"))
					}
				})
				if after := strings.Count(out.String(), "\n"); c.suppressed > 0 && after != 20 {
					t.Errorf("a second after the storm: logged %d, want 20", after)
				}
			})
		})
	}
}

// TestLogControls: up to coturn 4.7 anybody can put anything into a
// username, and so into the terminal of whoever reads the log.
func TestLogControls(t *testing.T) {
	line := []byte("1: : ERROR: user \x1b[2J\x1b]0;owned\x07\r\x00\x7f\x9b\u009b\u202e \"x\"\nlevel=INFO msg=forged")
	var out bytes.Buffer
	for name, c := range map[string]struct {
		handler slog.Handler
		raw     func(rune) bool
	}{
		"text": {slog.NewTextHandler(&out, nil), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }},
		"json": {slog.NewJSONHandler(&out, nil), func(r rune) bool { return r != '\n' && r < ' ' }}, // the rest is for who reads JSON to escape
	} {
		out.Reset()
		log := calls.NewLog(slog.New(c.handler))
		write(t, log, func() {
			log.Stdout(line)
			log.Stderr(line)
		})
		if strings.Count(out.String(), "\n") != 2 || strings.Count(out.String(), "owned") != 2 {
			t.Errorf("%s: want two lines:\n%q", name, out.String())
		}
		if strings.ContainsFunc(out.String(), c.raw) {
			t.Errorf("%s: control characters in %q", name, out.String())
		}
	}
}

// TestLogKeepsNoLine: the reader uses its buffer again.
func TestLogKeepsNoLine(t *testing.T) {
	var out bytes.Buffer
	log := calls.NewLog(logger(&out, slog.LevelInfo))
	write(t, log, func() {
		line := []byte("first line")
		log.Stderr(line)
		copy(line, "XXXXX")
		log.Stderr(line)
	})
	if got, want := out.String(), "level=WARN msg=turnserver line=\"first line\"\nlevel=WARN msg=turnserver line=\"XXXXX line\"\n"; got != want {
		t.Errorf("got %s want %s", got, want)
	}
}

// stalled is a log that nobody reads: the first write to it never ends.
type stalled struct{ end chan struct{} }

func (s stalled) Write(p []byte) (int, error) {
	<-s.end
	return len(p), nil
}

// TestLogStalled: with our own log stuck, the pipe of the child is emptied all
// the same, whatever it writes; and we can still be stopped.
func TestLogStalled(t *testing.T) {
	stuck := stalled{make(chan struct{})}
	log := calls.NewLog(logger(stuck, slog.LevelDebug))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended, read := make(chan error, 1), make(chan struct{})
	go func() { ended <- log.Run(ctx) }()
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(r); lines.Scan(); {
			log.Stdout(lines.Bytes())
		}
	}()
	if err := w.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	const lines = 50_000 // 5 MB; the pipe holds 64 KiB
	for range lines {
		if _, err := w.WriteString(sessionLine + "\n"); err != nil {
			t.Fatalf("the pipe is full: %v", err)
		}
	}
	_ = w.Close()
	<-read
	_ = r.Close()
	got := log.Sessions()
	if written := got.Lines[coturn.KindNew]; written != lines {
		t.Errorf("counted %d lines, want %d", written, lines)
	}
	// The rate cap lets 200 through, and then 20 a second.
	if got.Suppressed < lines/2 || got.Suppressed+got.Dropped > lines {
		t.Errorf("suppressed %d, dropped %d", got.Suppressed, got.Dropped)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	close(stuck.end)
}

// TestLogDrops: what a stuck log does not take is counted.
func TestLogDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := calls.NewLog(logger(io.Discard, slog.LevelInfo)) // without its Run
		for range 60 {
			time.Sleep(time.Second)
			for range 20 {
				log.Stderr([]byte("x"))
			}
		}
		if got := log.Sessions(); got.Dropped != 60*20-256 || got.Suppressed != 0 {
			t.Errorf("dropped %d, suppressed %d; want %d, 0", got.Dropped, got.Suppressed, 60*20-256)
		}
	})
}

func TestLogNewRun(t *testing.T) {
	log := calls.NewLog(slog.New(slog.DiscardHandler))
	log.Stdout([]byte(sessionLine))
	log.Stdout([]byte(secondLine))
	if got := log.Sessions(); got.Open != 2 || got.Created != 2 {
		t.Fatalf("open %d, created %d; want 2, 2", got.Open, got.Created)
	}
	log.NewRun()
	if got := log.Sessions(); got.Open != 0 || got.Created != 2 {
		t.Errorf("after the child's end: open %d, created %d; want 0, 2", got.Open, got.Created)
	}
	log.Stdout([]byte(sessionLine)) // ids begin again
	if got := log.Sessions(); got.Open != 1 || got.Created != 3 {
		t.Errorf("in the next run: open %d, created %d; want 1, 3", got.Open, got.Created)
	}
}

func TestLogFromManyGoroutines(t *testing.T) {
	log := calls.NewLog(slog.New(slog.DiscardHandler))
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for j := range 100 {
				log.Stdout(fmt.Appendf(nil, "1: : session %018d: new, realm=<r>, username=<u>, lifetime=600", 1+100*i+j))
				log.Stderr([]byte("x"))
				log.Sessions()
			}
		})
	}
	all.Wait()
	if got := log.Sessions(); got.Open != 400 {
		t.Errorf("open: got %d, want 400", got.Open)
	}
}

// TestLogAllocatesNothing: the garbage collector must not come between the child
// and its pipe.
func TestLogAllocatesNothing(t *testing.T) {
	log := calls.NewLog(slog.New(slog.DiscardHandler))
	lines := call(1)
	for _, line := range lines {
		log.Stdout(line)
	}
	if n := testing.AllocsPerRun(1000, func() {
		for _, line := range lines {
			log.Stdout(line)
		}
	}); n != 0 {
		t.Errorf("%v allocations for %d lines", n, len(lines))
	}
}

// call is what coturn 4.6.1 writes for an allocation with one permission and channel.
func call(id int) (lines [][]byte) {
	for _, text := range []string{
		"realm <example.org> user <>: incoming packet message processed, error 401: Unauthorized",
		"new, realm=<example.org>, username=<tw-0123456789-abcdefghijklmnopqrstuvwxyz>, lifetime=600",
		"realm <example.org> user <tw-0123456789-abcdefghijklmnopqrstuvwxyz>: incoming packet ALLOCATE processed, success",
		"peer 192.0.2.7 lifetime updated: 300",
		"realm <example.org> user <tw-0123456789-abcdefghijklmnopqrstuvwxyz>: incoming packet CREATE_PERMISSION processed, success",
		"peer 192.0.2.7:40000 lifetime updated: 600",
		"realm <example.org> user <tw-0123456789-abcdefghijklmnopqrstuvwxyz>: incoming packet CHANNEL_BIND processed, success",
		"refreshed, realm=<example.org>, username=<tw-0123456789-abcdefghijklmnopqrstuvwxyz>, lifetime=0",
		"realm <example.org> user <tw-0123456789-abcdefghijklmnopqrstuvwxyz>: incoming packet REFRESH processed, success",
		"usage: realm=<example.org>, username=<tw-0123456789-abcdefghijklmnopqrstuvwxyz>, rp=61, rb=6420, sp=61, sb=6124",
		"peer usage: realm=<example.org>, username=<tw-0123456789-abcdefghijklmnopqrstuvwxyz>, rp=50, rb=5000, sp=50, sb=5000",
		"closed (2nd stage), user <tw-0123456789-abcdefghijklmnopqrstuvwxyz> realm <example.org> origin <>, local 192.0.2.1:3478, remote 192.0.2.5:58467, reason: allocation timeout",
		"delete: realm=<example.org>, username=<tw-0123456789-abcdefghijklmnopqrstuvwxyz>",
		"peer 192.0.2.7:40000 deleted",
	} {
		lines = append(lines, fmt.Appendf(nil, "7: : session %018d: %s", id, text))
	}
	return lines
}

// BenchmarkChildLog cuts, parses and counts the lines of 500 calls.
func BenchmarkChildLog(b *testing.B) {
	log := calls.NewLog(slog.New(slog.DiscardHandler))
	var text []byte
	lines := 0
	for id := range 500 {
		for _, line := range call(id) {
			text = append(append(text, line...), '\n')
			lines++
		}
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	used := cpu(b)
	for b.Loop() {
		for line := range bytes.Lines(text) {
			log.Stdout(line)
		}
	}
	b.ReportMetric(float64(lines)*float64(b.N)/(cpu(b)-used).Seconds(), "lines/cpu-s")
}

// cpu is the processor time that this process has used, which others on the machine
// do not change.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
