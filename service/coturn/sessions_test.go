package coturn_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/turnwarden/turnwarden/service/coturn"
)

// The captured run had six allocations that relayed 50, 49, 5 and three times 0
// packets of 100 bytes each way, ten 5-tuples without one, and a forged "new".
func TestSessionsOfCapturedLog(t *testing.T) {
	s := coturn.NewSessions()
	for line := range bytes.Lines(readLog(t, "testdata/log/4.6.1.log")) {
		s.Feed(coturn.ParseLine(line), time.Time{})
	}
	got := s.Totals(time.Time{})
	if relayed := got.Relayed; relayed.Sum != float64(got.Peer.ReceivedBytes+got.Peer.SentBytes) ||
		!slices.Equal(relayed.Counts, []uint64{3, 1, 2, 0, 0, 0, 0, 0, 0, 0}) {
		t.Errorf("relayed by one allocation: %+v, by all %+v", relayed, got.Peer)
	}
	if !slices.Equal(got.Duration.Counts, []uint64{6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}) {
		t.Errorf("durations %+v", got.Duration)
	}
	got.Lines, got.Duration, got.Relayed = coturn.SessionTotals{}.Lines, coturn.Histogram{}, coturn.Histogram{}
	want := coturn.SessionTotals{
		Open: 1, Created: 7, // the forged one among them: the log cannot tell
		Client:       coturn.Usage{ReceivedPackets: 144, ReceivedBytes: 15144, SentPackets: 144, SentBytes: 14320},
		Peer:         coturn.Usage{ReceivedPackets: 104, ReceivedBytes: 10400, SentPackets: 104, SentBytes: 10400},
		FailedLogins: coturn.FailedLogins{Unknown: 2, Wrong: 2, Malformed: 4},
		Refused:      map[int]uint64{0: 0, 400: 4, 401: 4, 403: 0, 420: 0, 437: 0, 438: 2, 440: 0, 441: 0, 442: 0, 443: 0, 446: 0, 447: 0, 486: 0, 500: 0, 508: 0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSessions(t *testing.T) {
	line := func(format string, args ...any) coturn.Line {
		return coturn.ParseLine(fmt.Appendf([]byte("0: : session "), format, args...))
	}
	opened := func(id int) coturn.Line {
		return line("%018d: new, realm=<r>, username=<u>, lifetime=600", id)
	}
	deleted := func(id int) coturn.Line {
		return line("%018d: delete: realm=<r>, username=<u>", id)
	}
	released := func(id int) coturn.Line {
		return line("%018d: refreshed, realm=<r>, username=<u>, lifetime=0", id)
	}
	peer := func(id int, packets, bytes uint64) coturn.Line {
		return line("%018d: peer usage: realm=<r>, username=<u>, rp=%d, rb=%[3]d, sp=%[2]d, sb=%[3]d", id, packets, bytes)
	}
	tests := map[string]struct {
		lines   []coturn.Line
		open    int
		created uint64
		peer    uint64
	}{
		"opened twice":            {[]coturn.Line{opened(1), opened(1)}, 1, 1, 0},
		"deleted twice":           {[]coturn.Line{opened(1), deleted(1), deleted(1)}, 0, 1, 0},
		"deleted, never opened":   {[]coturn.Line{opened(1), deleted(2)}, 1, 1, 0},
		"released":                {[]coturn.Line{opened(1), opened(2), released(1), released(1)}, 1, 2, 0},
		"released and deleted":    {[]coturn.Line{opened(1), opened(2), released(1), deleted(1)}, 1, 2, 0},
		"released, never opened":  {[]coturn.Line{opened(1), released(2)}, 1, 1, 0},
		"usage, never opened":     {[]coturn.Line{opened(1), peer(2, 1, 100)}, 1, 1, 0},
		"usage in parts":          {[]coturn.Line{opened(1), peer(1, 1024, 204800), peer(1, 1, 200), deleted(1)}, 0, 1, 205000},
		"usage that cannot be":    {[]coturn.Line{opened(1), peer(1, 1, math.MaxUint64)}, 1, 1, 0},
		"more packets than there": {[]coturn.Line{opened(1), peer(1, math.MaxUint32, 1)}, 1, 1, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := coturn.NewSessions()
			for _, l := range tt.lines {
				s.Feed(l, time.Time{})
			}
			if got := s.Totals(time.Time{}); got.Open != tt.open || got.Created != tt.created || got.Peer.SentBytes != tt.peer {
				t.Errorf("%d open, %d created, %d bytes; want %d, %d, %d", got.Open, got.Created, got.Peer.SentBytes, tt.open, tt.created, tt.peer)
			}
		})
	}

	t.Run("call", func(t *testing.T) {
		s, start := coturn.NewSessions(), time.Unix(1790000000, 0)
		s.Feed(opened(1), start)
		s.Feed(peer(1, 2, 300), start.Add(time.Minute))
		s.Feed(deleted(1), start.Add(time.Hour))
		got := s.Totals(start)
		if got.Duration.Sum != 3600 || got.Duration.Counts[7] != 1 || got.Relayed.Sum != 600 || got.Relayed.Counts[1] != 1 {
			t.Errorf("%v %v", got.Duration, got.Relayed)
		}
		got.Duration.Counts[7]++
		if s.Totals(start).Duration.Counts[7] != 1 {
			t.Error("Totals returned counts that are still in use")
		}
	})
	t.Run("restart", func(t *testing.T) {
		s := coturn.NewSessions()
		s.Feed(opened(1), time.Time{})
		s.Reset()
		s.Feed(opened(1), time.Time{})
		if got := s.Totals(time.Time{}); got.Open != 1 || got.Created != 2 {
			t.Errorf("%d open, %d created; want 1, 2", got.Open, got.Created)
		}
	})
	t.Run("forged without end", func(t *testing.T) {
		s := coturn.NewSessions()
		for id := range 200_000 {
			s.Feed(opened(id), time.Time{})
			s.Feed(line("%018d: realm <r> user <u>: incoming packet message processed, error %d: x", id, 300+id%400), time.Time{})
		}
		got := s.Totals(time.Time{})
		if got.Open > 1<<17 {
			t.Errorf("%d sessions kept", got.Open)
		}
		if len(got.Refused) != len(coturn.NewSessions().Totals(time.Time{}).Refused) {
			t.Errorf("codes invented: %v", got.Refused)
		}
		got.Refused[508] = 0
		if s.Totals(time.Time{}).Refused[508] == 0 {
			t.Error("Totals returned a map that is still in use")
		}
	})
}
