package coturn_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/turnwarden/turnwarden/service/coturn"
)

// logVersion is the release whose log a file is named for.
func logVersion(t testing.TB, name string) (v coturn.Version) {
	t.Helper()
	if _, err := fmt.Sscanf(filepath.Base(name), "%d.%d.%d.log", &v.Major, &v.Minor, &v.Patch); err != nil {
		t.Fatal(name, err)
	}
	return v
}

func releaseLogs(t testing.TB) []string {
	t.Helper()
	logs, err := filepath.Glob("testdata/release/*.log")
	if err != nil || len(logs) != 10 {
		t.Fatal(logs, err)
	}
	return logs
}

// counted is what is counted from a log, as golden files have it.
func counted(t testing.TB, name string) string {
	t.Helper()
	s := coturn.NewSessions()
	feed := coturn.Once(logVersion(t, name), func(line []byte) { s.Feed(coturn.ParseLine(line), time.Time{}) })
	for line := range bytes.Lines(readLog(t, name)) {
		feed(line)
	}
	got := s.Totals(time.Time{})
	return report(got.Created, got.Open, got.Client, got.Peer, got.FailedLogins, got.Refused)
}

func report(created uint64, open int, client, peer coturn.Usage, failed coturn.FailedLogins, refused map[int]uint64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "created %d\nopen %d\nclient %+v\npeer %+v\nfailed %+v\n", created, open, client, peer, failed)
	for _, code := range slices.Sorted(maps.Keys(refused)) {
		if refused[code] > 0 {
			fmt.Fprintf(&b, "refused %d: %d\n", code, refused[code])
		}
	}
	return b.String()
}

var (
	naiveSession = regexp.MustCompile(`session (\d{18})`)
	naiveError   = regexp.MustCompile(`user <(.*)>: incoming packet message processed, error (\d+): `)
	naiveUsage   = regexp.MustCompile(`, rp=(\d+), rb=(\d+), sp=(\d+), sb=(\d+)`)
)

// countNaively reads a log as somebody would who has an afternoon for it, and as slowly.
func countNaively(t testing.TB, name string) string {
	t.Helper()
	copies := uint64(1) // of each line
	if logVersion(t, name).Before(coturn.Version{Major: 4, Minor: 6, Patch: 1}) {
		copies = 2
	}
	news, deletes, refused := map[string]bool{}, map[string]bool{}, map[int]uint64{}
	var client, peer coturn.Usage
	var failed coturn.FailedLogins
	for line := range strings.Lines(string(readLog(t, name))) {
		session := ""
		if m := naiveSession.FindStringSubmatch(line); m != nil {
			session = m[1]
		}
		switch {
		case strings.Contains(line, " new, realm="):
			news[session] = true
		case strings.Contains(line, " delete: realm="):
			deletes[session] = true
		case strings.Contains(line, "Cannot find credentials of user"):
			failed.Unknown++
		case strings.Contains(line, "credentials are incorrect"):
			failed.Wrong++
		}
		if m := naiveError.FindStringSubmatch(line); m != nil && m[1] != "" {
			code, _ := strconv.Atoi(m[2])
			refused[code]++
		}
		if m := naiveUsage.FindStringSubmatch(line); m != nil && news[session] {
			u := &client
			if strings.Contains(line, "peer usage") {
				u = &peer
			}
			for i, field := range []*uint64{&u.ReceivedPackets, &u.ReceivedBytes, &u.SentPackets, &u.SentBytes} {
				n, _ := strconv.ParseUint(m[i+1], 10, 64)
				*field += n
			}
		}
	}
	for _, n := range []*uint64{
		&client.ReceivedPackets, &client.ReceivedBytes, &client.SentPackets, &client.SentBytes,
		&peer.ReceivedPackets, &peer.ReceivedBytes, &peer.SentPackets, &peer.SentBytes, &failed.Unknown, &failed.Wrong,
	} {
		*n /= copies
	}
	for code := range refused {
		refused[code] /= copies
	}
	return report(uint64(len(news)), len(news)-len(deletes), client, peer, failed, refused)
}

// The same eight allocations, wrong passwords and unknown users were made on ten releases
// (4.17.1 and 4.18.0 refused fewer: their clients gave up earlier).
func TestReleases(t *testing.T) {
	for _, name := range releaseLogs(t) {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".log"), func(t *testing.T) {
			got, golden := counted(t, name), strings.TrimSuffix(name, ".log")+".golden"
			if os.Getenv("UPDATE_GOLDEN") == "1" {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(readLog(t, golden)), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff(countNaively(t, name), got); diff != "" {
				t.Errorf("-naive reader +got:\n%s", diff)
			}
			if !strings.HasPrefix(got, "created 8\n") {
				t.Errorf("got %s, want 8 allocations", got)
			}
		})
	}
}

// What a client does is not for our log, in the words of any release; what turnserver says
// of itself is.
func TestReleasesTellClientsFromServer(t *testing.T) {
	for _, name := range releaseLogs(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			clients := false
			for line := range bytes.Lines(readLog(t, name)) {
				l := coturn.ParseLine(line)
				clients = clients || l.Session != 0 || bytes.Contains(line, []byte("Local relay addr"))
				if bytes.Contains(line, []byte("Terminating on signal")) {
					break
				}
				switch logged := !l.Kind.PerClient() && l.Level >= slog.LevelInfo && len(l.Message) > 0; {
				case !clients && !logged && l.Level >= slog.LevelInfo && len(l.Message) > 0:
					t.Errorf("not logged: %s", line)
				case clients && logged:
					t.Errorf("logged: %s", line)
				}
			}
			if !clients {
				t.Error("no line of a client")
			}
		})
	}
}

// A release of tomorrow may put the session elsewhere, or call it by another name. Then
// nothing is counted, and still no user is named in our log.
func TestUnknownFormatIsNotLogged(t *testing.T) {
	id := regexp.MustCompile(` \(session (\d+)\)| \(session (\d+), check_stun_auth\)`)
	for name, format := range map[string]func(line []byte) []byte{
		"id in front":  func(line []byte) []byte { return id.ReplaceAll(line, nil) },
		"another word": func(line []byte) []byte { return id.ReplaceAll(line, []byte(" [call $1$2]")) },
		"short id":     func(line []byte) []byte { return id.ReplaceAll(line, []byte(" (session 7)")) },
	} {
		t.Run(name, func(t *testing.T) {
			s := coturn.NewSessions()
			for line := range bytes.Lines(readLog(t, "testdata/release/4.18.0.log")) {
				l := coturn.ParseLine(format(line))
				s.Feed(l, time.Time{})
				if user := bytes.Contains(line, []byte("alice")) || bytes.Contains(line, []byte("bob")); user && !l.Kind.PerClient() {
					t.Errorf("logged: %s", l.Message)
				}
			}
			if got := s.Totals(time.Time{}); got.Created != 0 || got.Open != 0 {
				t.Errorf("%d created, %d open, of lines without a session", got.Created, got.Open)
			}
		})
	}
}

// 4.18 ends its lines with the session, and a client writes in the middle of them. Names
// and realms of any kind must not make another line, another session or another count of it.
func TestForgingInTheNewFormat(t *testing.T) {
	const tail = " (session 001000000000000007)"
	for name, tt := range map[string]struct {
		line string
		want coturn.Line
	}{
		"refused name with a session": {
			"ERROR wrong username: x (session 000000000000000001) (session 001000000000000007, check_stun_auth)",
			coturn.Line{Level: slog.LevelError, Kind: coturn.KindWrongUsername, Session: 1000000000000007},
		},
		"refused name like a line": {
			"ERROR wrong username: allocation new, realm=<r>, username=<u>, lifetime=600 (session 000000000000000001) (session 001000000000000007, check_stun_auth)",
			coturn.Line{Level: slog.LevelError, Kind: coturn.KindWrongUsername, Session: 1000000000000007},
		},
		"refused name, cut before the session": {
			"ERROR wrong username: allocation delete: realm=<r>, username=<u> (session 000000000000000001)",
			coturn.Line{Level: slog.LevelError, Kind: coturn.KindWrongUsername, Session: 1},
		},
		"unknown user like a session": {
			"ERROR Cannot find credentials of user <u>,(session:000000000000000001)>",
			coturn.Line{Level: slog.LevelError, Kind: coturn.KindUnknownUser},
		},
		"name like numbers": {
			"INFO peer usage: realm=<r>, username=<u>,rp=9,rb=9,sp=9,sb=9>, rp=1, rb=2, sp=3, sb=4" + tail,
			coturn.Line{Kind: coturn.KindPeerUsage, Session: 1000000000000007, Usage: coturn.Usage{ReceivedPackets: 1, ReceivedBytes: 2, SentPackets: 3, SentBytes: 4}},
		},
		"name like a lifetime": {
			"INFO allocation refreshed, realm=<r>, username=<u>,lifetime=0>, lifetime=600" + tail,
			coturn.Line{Kind: coturn.KindRefreshed, Session: 1000000000000007},
		},
		"name like an error": {
			"INFO realm <r> user <u>:incoming,error401:>: incoming packet message processed, error 486: Allocation Quota Reached" + tail,
			coturn.Line{Kind: coturn.KindRefused, Code: 486, Session: 1000000000000007},
		},
		"HTTP request like a line": {
			"INFO read_client_connection: HTTP connection input: allocation new, realm=<r>, username=<u>, lifetime=600 (session 000000000000000001)",
			coturn.Line{Kind: coturn.KindSession, Session: 1},
		},
		"line of earlier releases": {
			"INFO HTTP connection input: session 000000000000000001: new, realm=<r>, username=<u>, lifetime=600",
			coturn.Line{Kind: coturn.KindSession},
		},
		"new, its session cut": {
			"INFO allocation new, realm=<r>, username=<u>, lifetime=600",
			coturn.Line{Kind: coturn.KindSession},
		},
		"both formats": {
			"INFO session 000000000000000001: new, realm=<r>, username=<u>, lifetime=600" + tail,
			coturn.Line{Kind: coturn.KindSession, Session: 1},
		},
		"bracket in bracket": {
			"INFO closed (2nd stage), user <u> realm <r> origin <>, local 127.0.0.1:1, remote 127.0.0.1:2, reason: TCP connection closed by client (callback)" + tail,
			coturn.Line{Kind: coturn.KindClosed, Session: 1000000000000007, Remote: []byte("127.0.0.1:2")},
		},
		"socket": {
			"INFO socket closed remotely: 127.0.0.1:3 (TLS/TCP socket, session 001000000000000007)",
			coturn.Line{Kind: coturn.KindSession, Session: 1000000000000007},
		},
		"expired": {
			"ERROR credentials of user <1000:u> have expired (the time-limited username timestamp is in the past)",
			coturn.Line{Level: slog.LevelError, Kind: coturn.KindUnknownUser},
		},
		"wrong secret": {
			"ERROR credentials of user <1000:u> are wrong (message integrity does not match any auth secret)",
			coturn.Line{Level: slog.LevelError, Kind: coturn.KindWrongPassword},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := coturn.ParseLine([]byte("2026-11-30T13:32:06.320+0000 " + tt.line))
			got.Message = nil
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// Two threads write, each its lines twice: one thread's second line may come between the
// other's two, and equal lines may be of two logins.
func TestOnce(t *testing.T) {
	for name, tt := range map[string]struct{ in, want string }{
		"one after another":    {"a a b b c c", "a b c"},
		"threads":              {"a b a b", "a b"},
		"two equal":            {"a a a a", "a a"},
		"of the next second":   {"0:_:_x 1:_:_x", "0:_:_x"},
		"a banner":             {"a b c a b c d d", "a b c d"},
		"one that came once":   {"a b b c c d d a", "a b c d"},
		"long after the first": {"a x y z x y z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 a", "a x y z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 a"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			feed := coturn.Once(coturn.Version{Major: 4, Minor: 5, Patch: 2}, func(line []byte) {
				got = append(got, strings.ReplaceAll(string(line), " ", "_"))
			})
			for line := range strings.FieldsSeq(tt.in) {
				feed([]byte(strings.ReplaceAll(line, "_", " ")))
			}
			if want := strings.Fields(tt.want); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
	var got int
	feed := coturn.Once(coturn.Version{Major: 4, Minor: 6, Patch: 1}, func([]byte) { got++ })
	feed([]byte("a"))
	feed([]byte("a"))
	if got != 2 {
		t.Errorf("%d lines of 4.6.1, which writes each once", got)
	}
}

func FuzzReleases(f *testing.F) {
	for _, name := range releaseLogs(f) {
		_, calls, _ := bytes.Cut(readLog(f, name), []byte("Local relay addr"))
		f.Add(calls[:2000]) // whole logs would be fuzzed at some runs a second
		f.Add(calls[len(calls)-2000:])
	}
	f.Fuzz(func(t *testing.T, log []byte) {
		s := coturn.NewSessions()
		lines := uint64(0)
		feed := coturn.Once(coturn.Version{Major: 4, Minor: 5, Patch: 2}, func(line []byte) {
			lines++
			l := coturn.ParseLine(line)
			if counts := l.Kind == coturn.KindNew || l.Kind == coturn.KindDeleted || l.Kind == coturn.KindReleased; counts && !bytes.Contains(line, []byte("session ")) {
				t.Errorf("kind %d without a session: %q", l.Kind, line)
			}
			s.Feed(l, time.Time{})
		})
		for line := range bytes.Lines(log) {
			feed(line)
		}
		if got := s.Totals(time.Time{}); got.Created > lines || got.Open > int(got.Created) {
			t.Errorf("%d created, %d open of %d lines", got.Created, got.Open, lines)
		}
	})
}
