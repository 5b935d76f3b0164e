package coturn_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/coturn"
)

// play plays lines to Sessions: "0.5 000000000000000001: …" is one that is read half
// a second after the start, "0.5 probe 127.0.0.1:5000" and "0.5 probe refused 486" are
// what the probe tells, "3 totals" is somebody who looks.
func play(t *testing.T, s *coturn.Sessions, start time.Time, script string) {
	t.Helper()
	for l := range strings.Lines(script) {
		at, what, ok := strings.Cut(strings.TrimSpace(l), " ")
		if !ok {
			continue
		}
		var seconds float64
		if _, err := fmt.Sscan(at, &seconds); err != nil {
			t.Fatal(err)
		}
		now := start.Add(time.Duration(seconds * float64(time.Second)))
		var code int
		if what == "totals" {
			s.Totals(now)
		} else if _, err := fmt.Sscanf(what, "probe refused %d", &code); err == nil {
			s.Refused(code)
		} else if addr, ok := strings.CutPrefix(what, "probe "); ok {
			s.Asked(netip.MustParseAddrPort(addr), now)
		} else {
			s.Feed(coturn.ParseLine([]byte("0: : "+what)), now)
		}
	}
}

// session writes the lines of an allocation that is made, given up, and closed a
// second later, as coturn 4.6.1 does.
func session(id int, opened float64, remote string) string {
	return fmt.Sprintf(`
		%[2]g session %018[1]d: new, realm=<r>, username=<u>, lifetime=600
		%[3]g session %018[1]d: refreshed, realm=<r>, username=<u>, lifetime=0
		%[4]g session %018[1]d: usage: realm=<r>, username=<u>, rp=3, rb=252, sp=3, sb=300
		%[4]g session %018[1]d: peer usage: realm=<r>, username=<u>, rp=1, rb=100, sp=1, sb=100
		%[4]g session %018[1]d: closed (2nd stage), user <u> realm <r> origin <>, local 10.0.0.1:3478, remote %[5]s, reason: allocation timeout
		%[4]g session %018[1]d: delete: realm=<r>, username=<u>`, id, opened, opened+.003, opened+1.2, remote)
}

func TestOwnProbesAreLeftOut(t *testing.T) {
	const (
		refused = "session 000000000000000009: realm <r> user <u>: incoming packet message processed, error "
		quota   = refused + "486: Allocation Quota Reached"
		unknown = "ERROR: check_stun_auth: Cannot find credentials of user <u>"
		wrong   = "ERROR: check_stun_auth: user u credentials are incorrect"
		login   = refused + "401: Unauthorized"
	)
	opened := func(id int, at float64) string {
		return strings.Join(strings.SplitN(session(id, at, ""), "\n", 3)[:2], "\n")
	}
	type counts struct {
		open             int
		created, ended   uint64
		bytes            uint64
		full, logins     uint64 // 486 and 401
		unknown, invalid uint64
	}
	tests := map[string]struct {
		script string
		at     float64
		want   counts
	}{
		"a probe":           {"0 probe 10.0.0.1:5000" + session(1, .002, "10.0.0.1:5000"), 2, counts{}},
		"a probe over IPv6": {"0 probe [2001:db8::1]:5000" + session(1, .002, "[2001:db8::1]:5000"), 2, counts{}},
		"while it stands":   {"0 probe 10.0.0.1:5000" + opened(1, .002), .1, counts{}},
		"a client":          {session(1, 0, "10.0.0.1:5000"), 2, counts{created: 1, ended: 1, bytes: 200}},
		"a client beside a probe": {
			"0 probe 10.0.0.1:5000" + session(1, .002, "192.0.2.1:5000") + session(2, .003, "10.0.0.1:5000"), 2,
			counts{created: 1, ended: 1, bytes: 200},
		},
		"a client that stays, at once":  {"0 probe 10.0.0.1:5000" + opened(1, .002), .5, counts{open: 1}},
		"a client that stays, in time":  {"0 probe 10.0.0.1:5000" + opened(1, .002), 3, counts{open: 1, created: 1}},
		"a client that came much later": {"0 probe 10.0.0.1:5000" + opened(1, 1.5), 1.5, counts{open: 1, created: 1}},
		// The machine is starved: its line comes long after the probe, and its bytes stay.
		"a late line":              {"0 probe 10.0.0.1:5000" + session(1, 1.5, "10.0.0.1:5000"), 3, counts{created: 1, bytes: 200}},
		"a late line, made up for": {"0 probe 10.0.0.1:5000" + session(1, 1.5, "10.0.0.1:5000") + session(2, 5, "192.0.2.1:1"), 9, counts{created: 1, ended: 1, bytes: 400}},
		"a probe that hung": {
			"0 probe 10.0.0.1:5000" + opened(1, .002) + "\n3 totals" + session(1, 9, "10.0.0.1:5000"), 20, counts{created: 1, bytes: 200},
		},

		"a refusal":          {"0 " + quota, 0, counts{full: 1}},
		"our own refusal":    {"0 probe 10.0.0.1:5000\n.001 " + quota + "\n.002 probe refused 486", 9, counts{}},
		"told before it was": {"0 probe 10.0.0.1:5000\n.001 probe refused 486\n.002 " + quota, 9, counts{}},
		"told much before":   {"0 probe 10.0.0.1:5000\n.001 probe refused 486\n8 " + quota, 9, counts{}},
		"one of two":         {"0 probe 10.0.0.1:5000\n.001 " + quota + "\n.001 " + quota + "\n.002 probe refused 486", 9, counts{full: 1}},
		"of another code":    {"0 probe 10.0.0.1:5000\n.001 " + quota + "\n.002 probe refused 437", 9, counts{full: 1}},
		"somebody else's":    {"0 probe 10.0.0.1:5000\n.001 " + quota, 2, counts{full: 1}},
		"our own login": {
			"0 probe 10.0.0.1:5000\n.001 " + unknown + "\n.001 " + login + "\n.002 probe refused 401", 9, counts{},
		},
		"logins": {
			"0 " + unknown + "\n0 " + login + "\n0 " + wrong + "\n0 " + login + "\n0 " + login, 0, counts{logins: 3, unknown: 1, invalid: 1},
		},
		"logins of two threads": {
			"0 " + unknown + "\n0 " + wrong + "\n0 " + login + "\n0 " + login, 0, counts{logins: 2, unknown: 1, invalid: 1},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, start := coturn.NewSessions(), time.Unix(1790000000, 0)
			play(t, s, start, tt.script)
			got := s.Totals(start.Add(time.Duration(tt.at * float64(time.Second))))
			ended := uint64(0)
			for _, n := range got.Duration.Counts {
				ended += n
			}
			have := counts{
				got.Open, got.Created, ended, got.Peer.ReceivedBytes + got.Peer.SentBytes,
				got.Refused[486], got.Refused[401], got.FailedLogins.Unknown, got.FailedLogins.Wrong,
			}
			if have != tt.want {
				t.Errorf("got %+v, want %+v", have, tt.want)
			}
		})
	}
}

// In a flood during a probe nothing grows without end, and nobody's refusal is lost.
func TestOwnProbesInAFlood(t *testing.T) {
	s, start := coturn.NewSessions(), time.Unix(1790000000, 0)
	s.Asked(netip.MustParseAddrPort("10.0.0.1:5000"), start)
	const flood = 50_000
	for id := range flood {
		s.Feed(coturn.ParseLine(fmt.Appendf(nil, "0: : session %018d: new, realm=<r>, username=<u>, lifetime=600", id)), start)
		s.Feed(coturn.ParseLine(fmt.Appendf(nil, "0: : session %018d: realm <r> user <u>: incoming packet message processed, error 486: x", id)), start)
		s.Refused(437)
	}
	early := s.Totals(start)
	if early.Created < flood-1024 || early.Refused[486] < flood-1024 {
		t.Errorf("held back: %d of %d allocations, %d refusals", flood-early.Created, flood, flood-early.Refused[486])
	}
	late := s.Totals(start.Add(time.Minute))
	if late.Created != flood || late.Open != flood || late.Refused[486] != flood {
		t.Errorf("%d created, %d open, %d refused; want %d of each", late.Created, late.Open, late.Refused[486], flood)
	}
}

// An address is somebody else's a while after a probe used it.
func TestOwnProbesAreForgotten(t *testing.T) {
	s, now := coturn.NewSessions(), time.Unix(1790000000, 0)
	for i := range 2000 {
		now = now.Add(time.Second)
		s.Asked(netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(i)), now)
	}
	play(t, s, now, session(1, 5, "10.0.0.1:7")+session(2, 5, "10.0.0.1:1999"))
	if got := s.Totals(now.Add(time.Minute)); got.Duration.Counts[1] != 1 || got.Open != 0 {
		t.Errorf("durations %v, %d open; want one of the two sessions", got.Duration.Counts, got.Open)
	}
}
