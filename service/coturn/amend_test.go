package coturn_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/coturn"
)

// Whatever was forged and lost, two looks at the list make the count what the list
// says, and what comes after is counted as ever.
func TestAmend(t *testing.T) {
	now := time.Unix(1790000000, 0)
	listed := func(ids ...int) (all []coturn.Session) {
		for _, id := range ids {
			all = append(all, coturn.Session{ID: fmt.Sprintf("%018d", id), Started: now.Add(-time.Hour), ClientAddr: fmt.Sprintf("192.0.2.1:%d", id)})
		}
		return all
	}
	tests := map[string]struct {
		log    string
		listed []coturn.Session
		open   int
		after  string
		then   int
	}{
		"agreed":                           {opens(1, 2), listed(1, 2), 2, deletes(1), 1},
		"lost new":                         {opens(1), listed(1, 2, 3), 3, deletes(2), 2},
		"lost delete":                      {opens(1, 2, 3), listed(3), 1, deletes(3), 0},
		"forged new":                       {opens(1, 777, 778), listed(1), 1, deletes(777, 1), 0},
		"all at once":                      {opens(1, 2, 777), listed(2, 3, 4), 3, deletes(2, 3, 4), 0},
		"nothing left":                     {opens(1, 2), nil, 0, opens(3), 1},
		"a released one that lost its end": {opens(1) + releases(1), nil, 0, opens(1), 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := coturn.NewSessions()
			play(t, s, now, tt.log)
			s.Amend(s.Compare(tt.listed).And(s.Compare(tt.listed)), now)
			if got := s.Totals(now); got.Open != tt.open {
				t.Errorf("%d open, want %d", got.Open, tt.open)
			}
			if !s.Compare(tt.listed).Empty() {
				t.Errorf("still different: %+v", s.Compare(tt.listed))
			}
			play(t, s, now, tt.after)
			if got := s.Totals(now); got.Open != tt.then {
				t.Errorf("then %d open, want %d", got.Open, tt.then)
			}
		})
	}

	t.Run("what was on its way", func(t *testing.T) {
		s := coturn.NewSessions()
		play(t, s, now, opens(1, 2))
		first := s.Compare(listed(2, 3)) // made as 1 ended and 3 began
		play(t, s, now, deletes(1)+opens(3, 4))
		if d := first.And(s.Compare(listed(2, 3, 4))); !d.Empty() {
			t.Errorf("%+v", d)
		}
	})
	t.Run("an earlier life", func(t *testing.T) {
		s := coturn.NewSessions()
		s.Amend(s.Compare(listed(1, 2)), now)
		play(t, s, now, "0 session 000000000000000001: peer usage: realm=<r>, username=<u>, rp=1, rb=100, sp=1, sb=100\n"+deletes(1))
		got := s.Totals(now)
		if got.Open != 1 || got.Created != 0 || got.Duration.Sum != 3600 || got.Relayed.Sum != 200 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("our own", func(t *testing.T) {
		s := coturn.NewSessions()
		s.Asked(netip.MustParseAddrPort("192.0.2.1:2"), now.Add(-time.Hour-time.Second))
		s.Asked(netip.MustParseAddrPort("192.0.2.1:3"), now) // somebody else had it an hour ago
		s.Amend(s.Compare(listed(1, 2, 3)), now)
		if got := s.Totals(now); got.Open != 2 || !s.Compare(listed(1, 2, 3)).Empty() {
			t.Errorf("%d open, want 2 of the 3", got.Open)
		}
	})
	t.Run("sockets", func(t *testing.T) {
		s := coturn.NewSessions()
		play(t, s, now, opens(1, 2, 3))
		for _, sockets := range []int{1, 5, 0, 3} {
			s.Trust(sockets)
			if s.Totals(now).Open != sockets || s.Known() != sockets {
				t.Errorf("%d open, %d known; want %d", s.Totals(now).Open, s.Known(), sockets)
			}
		}
		s.Trust(0)
		play(t, s, now, opens(4))
		if got := s.Totals(now).Open; got != 1 {
			t.Errorf("%d open after another began, want 1", got)
		}
		play(t, s, now, deletes(1, 2, 3, 4))
		if got := s.Totals(now).Open; got != 0 {
			t.Errorf("%d open after all have ended, want 0", got)
		}
	})
}

// A log that loses and forges lines at random is mended by one census each time.
func TestAmendRandom(t *testing.T) {
	now := time.Unix(1790000000, 0)
	s, there := coturn.NewSessions(), map[int]bool{}
	random := rand.New(rand.NewPCG(1, 2))
	for step := range 20_000 {
		id := random.IntN(300)
		line, heard := opens(id), random.IntN(10) > 0
		if there[id] {
			line = deletes(id)
		}
		if random.IntN(20) == 0 {
			line = opens(1000 + random.IntN(300)) // forged
		} else if there[id] = !there[id]; !there[id] {
			delete(there, id)
		}
		if heard {
			play(t, s, now, line)
		}
		if step%100 == 0 {
			var listed []coturn.Session
			for id := range there {
				listed = append(listed, coturn.Session{ID: fmt.Sprintf("%018d", id)})
			}
			s.Amend(s.Compare(listed), now)
			if got := s.Totals(now).Open; got != len(there) {
				t.Fatalf("step %d: %d open, want %d", step, got, len(there))
			}
		}
	}
}

func opens(ids ...int) string    { return each(ids, "new, realm=<r>, username=<u>, lifetime=600") }
func deletes(ids ...int) string  { return each(ids, "delete: realm=<r>, username=<u>") }
func releases(ids ...int) string { return each(ids, "refreshed, realm=<r>, username=<u>, lifetime=0") }

func each(ids []int, what string) (lines string) {
	for _, id := range ids {
		lines += fmt.Sprintf("0 session %018d: %s\n", id, what)
	}
	return lines
}

// FuzzSessions feeds whatever a log can hold, probes among it: no count can be driven
// below zero, back, or into a series of its own, and a census always ends it.
func FuzzSessions(f *testing.F) {
	for _, name := range []string{"4.6.1", "4.6.1-timestamp", "4.6.1-refused", "formats"} {
		f.Add(readLog(f, "testdata/log/"+name+".log"), uint16(7), uint8(3))
	}
	f.Add([]byte(opens(1, 2)+deletes(1)+releases(2)), uint16(1), uint8(0))
	f.Fuzz(func(t *testing.T, log []byte, probes uint16, listed uint8) {
		s, now := coturn.NewSessions(), time.Unix(1790000000, 0)
		var before coturn.SessionTotals
		lines := 0
		for line := range bytes.Lines(log) {
			if lines++; lines%8 == int(probes%8) {
				s.Asked(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), probes+uint16(lines)), now)
				s.Refused(300 + lines%400)
			}
			s.Feed(coturn.ParseLine(line), now)
			now = now.Add(time.Duration(lines%5) * 300 * time.Millisecond)
			if lines%64 == 0 {
				totals := s.Totals(now)
				if totals.Open < 0 || totals.Created < before.Created || totals.Peer.ReceivedBytes < before.Peer.ReceivedBytes ||
					totals.Duration.Sum < before.Duration.Sum || len(totals.Refused) != len(coturn.NewSessions().Totals(now).Refused) {
					t.Fatalf("after %+v: %+v", before, totals)
				}
				before = totals
			}
		}
		var list []coturn.Session
		for id := range listed {
			list = append(list, coturn.Session{ID: strconv.Itoa(int(id) + 1), Started: now})
		}
		now = now.Add(time.Minute)
		s.Amend(s.Compare(list).And(s.Compare(list)), now)
		if got := s.Totals(now).Open; got > len(list) {
			t.Fatalf("%d open of the %d that are listed", got, len(list))
		}
		if s.Known() != len(list) {
			t.Fatalf("%d known of the %d that are listed", s.Known(), len(list))
		}
	})
}
