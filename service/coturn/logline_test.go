package coturn_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/turnwarden/turnwarden/service/coturn"
)

// describe is a line of a golden file: what ParseLine made of one log line.
func describe(l coturn.Line) string {
	names := [...]string{
		"other", "listening", "session", "new", "refreshed", "released", "deleted", "closed", "usage", "peer-usage", "refused",
		"challenge", "unknown-user", "wrong-password", "wrong-username", "ports-exhausted", "bind-failed",
	}
	from := ""
	if l.Remote != nil {
		from = " from " + string(l.Remote)
	}
	return fmt.Sprintf("%s %s %d %d %v%s %s\n", l.Level, names[l.Kind], l.Session, l.Code, l.Usage, from, l.Message)
}

func describeAll(log []byte) string {
	var b strings.Builder
	for line := range bytes.Lines(log) {
		b.WriteString(describe(coturn.ParseLine(line)))
	}
	return b.String()
}

// The logs are coturn 4.6.1's own, but for formats.log, which has what matters in each
// format that any version is known to write. UPDATE_GOLDEN=1 rewrites what is expected;
// look at the difference.
func TestParseLineGolden(t *testing.T) {
	logs, err := filepath.Glob("testdata/log/*.log")
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	for _, name := range logs {
		t.Run(filepath.Base(name), func(t *testing.T) {
			got, golden := describeAll(readLog(t, name)), strings.TrimSuffix(name, ".log")+".golden"
			if os.Getenv("UPDATE_GOLDEN") == "1" {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(readLog(t, golden)), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// Whatever the prefix, the same lines must be understood in the same way: the
// captured log is written again as the other versions write it.
func TestParseLinePrefixes(t *testing.T) {
	classic := readLog(t, "testdata/log/4.6.1.log")
	want := describeAll(classic)
	prefix := regexp.MustCompile(`(?m)^(\d+): : (?:(ERROR|WARNING): )?`)
	formats := map[string]func(seconds, level string) string{
		"4.6.1 timestamp": func(_, level string) string {
			return "2026-11-22T16:05:17+0000: " + strings.TrimPrefix(level+": ", "INFO: ")
		},
		"4.6.2":           func(s, level string) string { return s + ": (9613): " + level + ": " },
		"4.6.2 timestamp": func(_, level string) string { return "2026-11-22T16:05:22-0330(18495): " + level + ": " },
		"4.17":            func(_, level string) string { return "2026-11-22T16:05:26.533+0000 " + level + " " },
		"4.17 seconds":    func(s, level string) string { return s + " " + level + " " },
	}
	for name, format := range formats {
		t.Run(name, func(t *testing.T) {
			log := prefix.ReplaceAllFunc(classic, func(match []byte) []byte {
				parts := prefix.FindSubmatch(match)
				level := "INFO"
				if len(parts[2]) > 0 {
					level = string(parts[2])
				}
				return []byte(format(string(parts[1]), level))
			})
			if diff := cmp.Diff(want, describeAll(log)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestParseLine(t *testing.T) {
	const session = "session 000000000000000002: "
	tests := map[string]struct {
		line string
		want coturn.Line
	}{
		"empty":         {"", coturn.Line{}},
		"only a prefix": {"0: : ", coturn.Line{}},
		"banner":        {"Version Coturn-4.6.1 'Gorst'", coturn.Line{}},
		"no prefix, so no session": {
			session + "delete: realm=<r>, username=<u>",
			coturn.Line{},
		},
		"number without a level":  {"3478 " + session + "delete: realm=<r>, username=<u>", coturn.Line{}},
		"time without a zone":     {"2026-11-22T16:05:26 INFO " + session + "delete: realm=<r>, username=<u>", coturn.Line{}},
		"debug of 4.17":           {"7 DEBUG Global turn allocation count incremented, now 1", coturn.Line{Level: slog.LevelDebug}},
		"control":                 {"7: (12): CONTROL: x", coturn.Line{}},
		"level only in the text":  {"0: : CONFIG ERROR: Empty cli-password", coturn.Line{}},
		"TLS":                     {"0: : " + session + "new, realm=<r>, username=<u>, lifetime=777, cipher=ECDHE-RSA-AES256-GCM-SHA384, method=TLSv1.2", coturn.Line{Kind: coturn.KindNew, Session: 2}},
		"new, cut at 1024 bytes":  {"0: : " + session + "new, realm=<r>, username=<u", coturn.Line{Kind: coturn.KindSession, Session: 2}},
		"given up":                {"0: : " + session + "refreshed, realm=<r>, username=<u>, lifetime=0", coturn.Line{Kind: coturn.KindReleased, Session: 2}},
		"origin":                  {"0: : " + session + "origin <o> realm <r> user <u>: incoming packet message processed, error 486: Allocation Quota Reached", coturn.Line{Kind: coturn.KindRefused, Session: 2, Code: 486}},
		"origin, challenge":       {"0: : " + session + "origin <o> realm <r> user <>: incoming packet message processed, error 401: Unauthorized", coturn.Line{Kind: coturn.KindChallenge, Session: 2, Code: 401}},
		"error of one method":     {"0: : " + session + "realm <r> user <u>: incoming packet ALLOCATE processed, error 486: Allocation Quota Reached", coturn.Line{Kind: coturn.KindSession, Session: 2}},
		"error that cannot be":    {"0: : " + session + "realm <r> user <u>: incoming packet message processed, error 999: x", coturn.Line{Kind: coturn.KindSession, Session: 2}},
		"name like numbers":       {"0: : " + session + "usage: realm=<r>, username=<u>, rp=9, rb=9, sp=9, sb=9>, rp=1, rb=2, sp=3, sb=4", coturn.Line{Kind: coturn.KindUsage, Session: 2, Usage: coturn.Usage{ReceivedPackets: 1, ReceivedBytes: 2, SentPackets: 3, SentBytes: 4}}},
		"usage beyond 64 bits":    {"0: : " + session + "usage: realm=<r>, username=<u>, rp=1, rb=99999999999999999999, sp=3, sb=4", coturn.Line{Kind: coturn.KindSession, Session: 2}},
		"usage with a tail":       {"0: : " + session + "usage: realm=<r>, username=<u>, rp=1, rb=2, sp=3, sb=4, x", coturn.Line{Kind: coturn.KindSession, Session: 2}},
		"short id":                {"0: : session 2: delete: realm=<r>, username=<u>", coturn.Line{Kind: coturn.KindSession}},
		"id beyond 64 bits":       {"0: : session 99999999999999999999: delete: realm=<r>, username=<u>", coturn.Line{Kind: coturn.KindSession}},
		"auth since 4.7":          {"4: (7): ERROR: " + session + "check_stun_auth: Cannot find credentials of user <u>", coturn.Line{Level: slog.LevelError, Kind: coturn.KindUnknownUser, Session: 2}},
		"wrong realm":             {"0: : ERROR: check_stun_auth: wrong realm: x", coturn.Line{Level: slog.LevelError}},
		"IPv6 listener":           {"0: : IPv6. TLS/TCP listener opened on : [::1]:5349", coturn.Line{Kind: coturn.KindListening}},
		"CLI listener":            {"0: : IPv4. CLI listener opened on : 127.0.0.1:5766", coturn.Line{Kind: coturn.KindListening}},
		"CLI used":                {"0: : IPv4. CLI connected to: 127.0.0.1:50286", coturn.Line{Kind: coturn.KindSession}},
		"CLI left":                {"0: : IPv4. CLI session disconnected from: 127.0.0.1:50286", coturn.Line{Kind: coturn.KindSession}},
		"relay range taken":       {"0: : Trying to bind fd 37 to <127.0.0.1:62506>: errno=98", coturn.Line{Kind: coturn.KindBindFailed}},
		"RTCP relay":              {"0: : IPv4. Local relay addr (RTCP): 127.0.0.1:63635", coturn.Line{Kind: coturn.KindSession}},
		"warning of the userdb":   {"0: : ERROR: Error retrieving SQLite DB information: database is locked", coturn.Line{Level: slog.LevelError}},
		"peer of a session ended": {"0: : " + session + "peer 127.0.0.1:3481 deleted", coturn.Line{Kind: coturn.KindSession, Session: 2}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := coturn.ParseLine([]byte(tt.line + "\r\n"))
			if !strings.HasSuffix(tt.line, string(got.Message)) {
				t.Errorf("message %q is not the end of the line", got.Message)
			}
			got.Message = nil
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestPerClient(t *testing.T) {
	for kind, want := range map[coturn.Kind]bool{
		coturn.KindOther: false, coturn.KindListening: false,
		coturn.KindSession: true, coturn.KindUsage: true, coturn.KindUnknownUser: true, coturn.KindBindFailed: true,
	} {
		if got := kind.PerClient(); got != want {
			t.Errorf("kind %d: %t, want %t", kind, got, want)
		}
	}
}

func TestParseLineAllocatesNothing(t *testing.T) {
	feed := coturn.Once(coturn.Version{Major: 4, Minor: 5, Patch: 2}, func(line []byte) { coturn.ParseLine(line) })
	for _, name := range append(releaseLogs(t), "testdata/log/4.6.1.log") {
		lines := bytes.SplitAfter(readLog(t, name), []byte("\n"))
		allocs := testing.AllocsPerRun(10, func() {
			for _, line := range lines {
				feed(line)
			}
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations in %d lines", name, allocs, len(lines))
		}
	}
}

func FuzzParseLine(f *testing.F) {
	for _, name := range []string{"4.6.1", "4.6.1-timestamp", "4.6.1-refused", "formats"} {
		for line := range bytes.Lines(readLog(f, "testdata/log/"+name+".log")) {
			f.Add(line)
		}
	}
	f.Add([]byte("4: (9613): INFO: session 000000000000000001: usage: realm=<r>, username=<u>, rp=1, rb=2, sp=3, sb=4"))
	f.Add([]byte("2026-11-22T16:05:26.533+0000 ERROR x"))
	digits, seen := regexp.MustCompile(`[0-9a-f]*[0-9][0-9a-f]*`), map[string]bool{} // one line of each kind
	for _, name := range releaseLogs(f) {
		for line := range bytes.Lines(readLog(f, name)) {
			if shape := digits.ReplaceAllString(string(line), "0"); !seen[shape] {
				seen[shape] = true
				f.Add(line)
			}
		}
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		l := coturn.ParseLine(line)
		if !bytes.HasSuffix(bytes.TrimRight(line, "\r\n"), l.Message) {
			t.Errorf("message %q is not the end of the line", l.Message)
		}
		counted := l.Kind == coturn.KindRefused || l.Kind == coturn.KindChallenge
		if counted != (l.Code >= 300 && l.Code <= 699) {
			t.Errorf("kind %d with code %d", l.Kind, l.Code)
		}
		if usage := l.Kind == coturn.KindUsage || l.Kind == coturn.KindPeerUsage; !usage && l.Usage != (coturn.Usage{}) {
			t.Errorf("kind %d with usage %v", l.Kind, l.Usage)
		}
		_ = describe(l) // its table has a name for every kind
	})
}

func BenchmarkParseLine(b *testing.B) {
	for name, file := range map[string]string{"4.6.1": "testdata/log/4.6.1.log", "4.18.0": "testdata/release/4.18.0.log"} {
		b.Run(name, func(b *testing.B) {
			log := readLog(b, file)
			lines := bytes.SplitAfter(log, []byte("\n"))
			b.SetBytes(int64(len(log)))
			b.ReportAllocs()
			for b.Loop() {
				for _, line := range lines {
					coturn.ParseLine(line)
				}
			}
			b.ReportMetric(float64(len(lines))*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}

func readLog(t testing.TB, name string) []byte {
	t.Helper()
	log, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return log
}
