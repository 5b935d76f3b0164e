package page_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/transport/web/page"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// follow opens a stream, and returns its reply and how to end it.
func follow(t *testing.T, s *httptest.Server) (*http.Response, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	end := func() {
		cancel()
		_ = response.Body.Close()
	}
	t.Cleanup(end)
	return response, end
}

func TestEvents(t *testing.T) {
	var n atomic.Int64
	s := httptest.NewServer(page.Events(func() page.Page { return page.Page{Name: "turn-1", Headline: fmt.Sprint("number ", n.Load())} }))
	t.Cleanup(s.Close)
	response, _ := follow(t, s)
	if got := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Fatalf("%s %s", response.Status, got)
	}
	in := bufio.NewScanner(response.Body)
	for i := range 3 {
		var event []string
		for in.Scan() && in.Text() != "" {
			event = append(event, in.Text())
		}
		if len(event) < 3 || event[0] != "event: page" || event[1] != fmt.Sprintf(`data: <main data-title="turn-1: number %d">`, i) || event[len(event)-1] != "data: </main>" {
			t.Fatalf("event %d: %q", i, event)
		}
		for _, line := range event[1:] {
			if !strings.HasPrefix(line, "data: ") {
				t.Errorf("line %q is not of the data", line)
			}
		}
		n.Add(1)
	}
}

// TestEventsAreWhole: no text of the page ends its event, or begins another.
func TestEventsAreWhole(t *testing.T) {
	s := httptest.NewServer(page.Events(func() page.Page {
		return page.Page{Name: "a", Reasons: []string{"500 no\r\revent: page\rdata: mine\n\ndata: mine"}}
	}))
	t.Cleanup(s.Close)
	response, _ := follow(t, s)
	in := bufio.NewReader(response.Body)
	for line := ""; line != "data: </main>\n"; {
		var err error
		if line, err = in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, "\r") || line != "event: page\n" && !strings.HasPrefix(line, "data: ") {
			t.Errorf("line %q", line)
		}
	}
}

// TestViewersAreBounded: one more than there may be is told to come back, and may
// once another has left.
func TestViewersAreBounded(t *testing.T) {
	s := httptest.NewServer(page.Events(func() page.Page { return page.Page{} }))
	t.Cleanup(s.Close)
	var leave context.CancelFunc
	for range 8 { // one caller has an eighth
		response, end := follow(t, s)
		if response.StatusCode != http.StatusOK {
			t.Fatal(response.Status)
		}
		leave = end
	}
	response, _ := follow(t, s)
	if body, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") != "10" {
		t.Errorf("%s %s", response.Status, body)
	}
	leave()
	realtest.Eventually(t, 10*time.Second, func() error {
		response, end := follow(t, s)
		if response.StatusCode == http.StatusOK {
			return nil
		}
		end()
		return fmt.Errorf("%s", response.Status)
	})
}

func TestChart(t *testing.T) {
	end := time.Unix(7200, 0)
	at := func(minute int) time.Time { return end.Add(time.Duration(minute-60) * time.Minute) }
	for name, c := range map[string]struct {
		points []page.Point
		path   string
		top    string
	}{
		"nothing":          {nil, "", "0"},
		"one":              {[]page.Point{{At: at(30), Value: 5}}, "M300.0 1.0h.1", "5"},
		"a line":           {[]page.Point{{At: at(58), Value: 0}, {At: at(59), Value: 10}, {At: at(60), Value: 5}}, "M580.0 119.0h.1L590.0 1.0L600.0 60.0", "10"},
		"a gap":            {[]page.Point{{At: at(0), Value: 8}, {At: at(50), Value: 8}, {At: at(51), Value: 8}}, "M0.0 1.0h.1M500.0 1.0h.1L510.0 1.0", "8"},
		"before the chart": {[]page.Point{{At: at(-1), Value: 1}, {At: at(0), Value: 1}}, "M0.0 1.0h.1", "1"},
		"idle":             {[]page.Point{{At: at(59)}, {At: at(60)}}, "M590.0 119.0h.1L600.0 119.0", "0"},
	} {
		chart := page.Chart{From: at(0), To: end, Gap: time.Minute, Format: func(v float64) string { return fmt.Sprint(v) }, Series: []page.Series{{Name: "x", Points: c.points}}}
		if got := chart.Path(chart.Series[0]); got != c.path {
			t.Errorf("%s: path %q, want %q", name, got, c.path)
		}
		if got := chart.Top(); got != c.top {
			t.Errorf("%s: top %q, want %q", name, got, c.top)
		}
	}
}
