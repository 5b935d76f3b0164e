package coturn_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/turnwarden/turnwarden/service/coturn"
)

// TestSessionsResumed: whoever goes on after any line counts what one would have counted
// who had read them all, with probes of our own in between.
func TestSessionsResumed(t *testing.T) {
	log := slices.Collect(bytes.Lines(readLog(t, "testdata/log/4.6.1.log")))
	begin := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	probe := netip.MustParseAddrPort("127.0.0.1:50000")
	feed := func(s *coturn.Sessions, from, to int) {
		for i := from; i < to; i++ {
			now := begin.Add(time.Duration(i) * 50 * time.Millisecond)
			if i%37 == 20 {
				s.Asked(probe, now)
				s.Refused(438)
			}
			s.Feed(coturn.ParseLine(log[i]), now)
		}
	}
	end := begin.Add(time.Hour)
	whole := coturn.NewSessions()
	feed(whole, 0, len(log))
	want := whole.Totals(end)
	for cut := range len(log) {
		before, after := coturn.NewSessions(), coturn.NewSessions()
		feed(before, 0, cut)
		data, err := json.Marshal(before.Save())
		if err != nil {
			t.Fatal(err)
		}
		var saved coturn.SavedSessions
		if err := json.Unmarshal(data, &saved); err != nil {
			t.Fatal(err)
		}
		after.Resume(saved)
		feed(after, cut, len(log))
		if diff := cmp.Diff(want, after.Totals(end)); diff != "" {
			t.Fatalf("cut after line %d of %d: -want +got:\n%s", cut, len(log), diff)
		}
	}
}

// TestSessionsResumedFromAnother: another version may know other codes and count in other
// steps; what is new begins at 0.
func TestSessionsResumedFromAnother(t *testing.T) {
	s := coturn.NewSessions()
	fresh := s.Totals(time.Time{})
	s.Resume(coturn.SavedSessions{Totals: coturn.SessionTotals{
		Created: 7, Refused: map[int]uint64{486: 3, 499: 2},
		Duration: coturn.Histogram{Bounds: []float64{1, 2}, Counts: []uint64{1, 2, 3}, Sum: 9},
	}})
	got := s.Totals(time.Time{})
	want := fresh
	want.Created = 7
	want.Refused[486], want.Refused[0] = 3, 2
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
