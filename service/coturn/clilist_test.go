package coturn

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// readPS reads what the CLI printed after the command ps.
func readPS(printed string, now time.Time) (*sessionList, error) {
	list := &sessionList{now: now}
	s := cliSession{w: io.Discard, r: bufio.NewReader(strings.NewReader(printed))}
	return list, s.run("ps", list.add)
}

func capturedPS(t testing.TB) string {
	t.Helper()
	printed, err := os.ReadFile("testdata/cli/4.6.1-ps.txt")
	if err != nil {
		t.Fatal(err)
	}
	return string(printed)
}

func TestSessionList(t *testing.T) {
	now := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	// What was not seen in the minute of the capture.
	printed := strings.NewReplacer(
		"started 0 secs ago\r\n      expiring in 600 secs\r\n      client protocol TCP", "started 75 secs ago\r\n      expired\r\n      client protocol TCP",
		"started 0 secs ago\r\n      expiring in 600 secs\r\n      client protocol TLS", "started: undefined time\r\n      expired\r\n      client protocol TLS",
		"      relay addr 127.77.7.7:20089\r\n", "      relay addr 127.77.7.7:20089\r\n      relay addr [::1]:20089\r\n      Max throughput: 9 bytes per second\r\n",
	).Replace(capturedPS(t))
	list, err := readPS(printed, now)
	if err != nil {
		t.Fatal(err)
	}
	want := []Session{
		{"000000000000000001", "alice", "example.org", now, "UDP", "127.0.0.1:41642", []string{"127.77.7.7:20923"}, Usage{3, 232, 2, 200}},
		{"000000000000000003", "alice", "example.org", time.Time{}, "TLS/TCP", "127.0.0.1:36074", []string{"127.77.7.7:20291"}, Usage{2, 128, 1, 100}},
		{"001000000000000001", "bob>,<:x", "example.org", now.Add(-75 * time.Second), "TCP", "127.0.0.1:40836", []string{"127.77.7.7:20068"}, Usage{2, 128, 1, 100}},
		{"001000000000000002", "alice", "example.org", now, "UDP", "[::1]:41970", []string{"127.77.7.7:20089", "[::1]:20089"}, Usage{2, 136, 1, 100}},
	}
	if diff := cmp.Diff(want, list.sessions); diff != "" {
		t.Errorf("sessions -want +got:\n%s", diff)
	}
	if err := list.complete(""); err != nil {
		t.Error(err)
	}
	if err := list.complete("alice"); err == nil || !strings.Contains(err.Error(), "another user") || strings.Contains(err.Error(), "bob") {
		t.Errorf("a session of another user: %v", err)
	}
}

func TestSessionListIncomplete(t *testing.T) {
	tests := map[string]struct{ old, new, want string }{
		"one not printed": {"Total sessions: 4", "Total sessions: 5", "printed 4 of 5"},
		"one not known":   {"    2) id=", "    2. id=", "printed 1 of 4"},
		"no total":        {"  Total sessions: 4\r\n", "", "no total"},
		"no prompt":       {"\r\n> ", "", "closed the connection"},
		"id":              {"3) id=001000000000000001", "3) id=1;stop", "cannot read the session"},
		"no user":         {"user <alice>:", "user alice:", "cannot read the session"},
		"endless line":    {"  Total", strings.Repeat("x", 1<<20), "buffer full"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			list, err := readPS(strings.Replace(capturedPS(t), tt.old, tt.new, 1), time.Now())
			if err == nil {
				err = list.complete("")
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// FuzzSessionList puts a user's name, of which coturn refuses only what is left
// out here, into true output: it must come back, and forge nothing. And whatever
// else is printed, a list is complete or an error.
func FuzzSessionList(f *testing.F) {
	captured := capturedPS(f)
	f.Add("alice", captured)
	f.Add(">:\f9)id=1,user<x>:", "> ")
	f.Add("Totalsessions:0", "\r\n    1) id=1, user <>:\r\n  Total sessions: 1\r\n> ")
	f.Fuzz(func(t *testing.T, name, printed string) {
		name = strings.NewReplacer(" ", "", "\t", "", "'", "", `"`, "", `\`, "", "\r", "", "\n", "", "\x00", "").Replace(name)
		if len(name) <= 512 {
			list, err := readPS(strings.Replace(captured, "<bob>,<:x>", "<"+name+">", 1), time.Now())
			if err != nil || list.complete("") != nil || list.sessions[2].Username != name || list.sessions[3].Username != "alice" {
				t.Fatalf("user %q became %+v, %v", name, list.sessions, err)
			}
		}
		list, err := readPS(printed, time.Now())
		if err == nil && list.complete("") == nil && list.total != strconv.Itoa(len(list.sessions)) {
			t.Fatalf("%d sessions of %s", len(list.sessions), list.total)
		}
		for _, s := range list.sessions {
			if !isSessionID(s.ID) {
				t.Fatalf("id %q", s.ID)
			}
		}
	})
}
