package metrics_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/metrics"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// asked is what GET /probe?target= answers to a scraper with this timeout.
func asked(t *testing.T, h http.Handler, target, timeout string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/probe?target="+url.QueryEscape(target), nil)
	r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", timeout)
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func allow(t testing.TB, entries ...string) func() []probe.Allow {
	t.Helper()
	var all []probe.Allow
	for _, e := range entries {
		a, err := probe.ParseAllow(e)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	return func() []probe.Allow { return all }
}

func TestProbeHandler(t *testing.T) {
	t.Parallel()
	s := realtest.StartTurnServer(t, realtest.TurnOptions{})
	host, addr := s.Addr.Addr().String(), s.Addr.String()
	for name, c := range map[string]struct {
		allowed       []string
		target        string
		code          int
		contains, not []string
	}{
		"a stranger's stages": {
			[]string{host},
			"turn:" + addr, 200,
			[]string{
				"probe_success 1", `probe_turn_stage_success{stage="resolve"} 1`, `probe_turn_stage_success{stage="bind"} 1`, `probe_turn_stage_success{stage="unauthorized"} 1`,
				`probe_turn_stage_duration_seconds{stage="bind"} `, "probe_duration_seconds ", "probe_dns_lookup_time_seconds ",
			},
			[]string{"allocate", "probe_ssl"},
		},
		"over TCP":        {[]string{addr}, "turn:" + addr + "?transport=tcp", 200, []string{"probe_success 1"}, nil},
		"STUN alone":      {[]string{addr}, "stun:" + addr, 200, []string{"probe_success 1"}, []string{"unauthorized"}},
		"nobody there":    {[]string{host}, "turn:" + host + ":9", 200, []string{"probe_success 0", `probe_turn_stage_success{stage="bind"} 0`}, []string{"unauthorized"}},
		"no address":      {[]string{"no-such-host.invalid"}, "turn:no-such-host.invalid", 200, []string{"probe_success 0", `probe_turn_stage_success{stage="resolve"} 0`}, nil},
		"nobody allowed":  {nil, "turn:" + addr, 403, []string{"probe.allow_targets of this node's configuration names none"}, []string{"probe_success"}},
		"nothing to read": {nil, "turns:[::]Q1:5349", 403, nil, []string{"accepted"}},
		"another host":    {[]string{"192.0.2.1", "turn.example.org"}, "turn:" + addr, 403, []string{"is not in probe.allow_targets"}, []string{"probe_success"}},
		"another port":    {[]string{host + ":9"}, "turn:" + addr, 403, nil, []string{"probe_success"}},
		"no target":       {[]string{host}, "", 400, []string{"accepted: turn:HOST"}, nil},
		"no end":          {[]string{host}, "turns:[::]Q1:5349", 400, []string{"accepted: turn:HOST"}, nil},
		"no TURN address": {[]string{host}, "http://" + addr, 400, []string{"accepted: turn:HOST"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			code, body := asked(t, metrics.ProbeHandler(allow(t, c.allowed...)), c.target, "10")
			if code != c.code {
				t.Errorf("got %d %s, want %d", code, body, c.code)
			}
			for _, text := range c.contains {
				if !strings.Contains(body, text) {
					t.Errorf("no %s in:\n%s", text, body)
				}
			}
			for _, text := range c.not {
				if strings.Contains(body, text) {
					t.Errorf("%s in:\n%s", text, body)
				}
			}
		})
	}
}

// TestProbeHandlerIsBounded: a server that never answers costs a scrape its timeout,
// and no more of them are asked at a time than a few.
func TestProbeHandlerIsBounded(t *testing.T) {
	t.Parallel()
	mute, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(realtest.Loopback(t))})
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	target := "turn:" + mute.LocalAddr().String()
	h := metrics.ProbeHandler(allow(t, mute.LocalAddr().String()))
	begin := time.Now()
	if code, body := asked(t, h, target, "1"); code != 200 || !strings.Contains(body, "probe_success 0") || time.Since(begin) < 500*time.Millisecond {
		t.Errorf("mute: %d after %v: %s", code, time.Since(begin), body)
	}
	requests := map[[12]byte]bool{} // by their STUN transaction
	receive := func() {
		packet := make([]byte, 1500)
		if n, err := mute.Read(packet); err != nil || n < 20 {
			t.Fatalf("%d bytes: %v", n, err)
		}
		requests[[12]byte(packet[8:20])] = true
	}
	receive()
	var all sync.WaitGroup
	defer all.Wait()
	for range 8 {
		all.Go(func() {
			if code, body := asked(t, h, target, "8"); code != 200 {
				t.Errorf("%d %s", code, body)
			}
		})
	}
	for len(requests) < 9 {
		receive()
	}
	if code, body := asked(t, h, target, "4"); code != 503 || !strings.Contains(body, "8 probes are under way") {
		t.Errorf("the ninth: %d %s", code, body)
	}
	_ = mute.Close() // the eight hear of it, and end
}

// TestScrapeTimeout: whatever a scraper says it would wait, a probe ends within 10 s.
func TestScrapeTimeout(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": 9500 * time.Millisecond, "10": 9500 * time.Millisecond, "3": 2500 * time.Millisecond, "0.6": 300 * time.Millisecond, "0": 9500 * time.Millisecond,
		"-1": 9500 * time.Millisecond, "11": 9500 * time.Millisecond, "+Inf": 9500 * time.Millisecond, "-Inf": 9500 * time.Millisecond, "NaN": 9500 * time.Millisecond,
		"1e-300": 0, "10s": 9500 * time.Millisecond,
	} {
		r := httptest.NewRequest(http.MethodGet, "/probe", nil)
		r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", header)
		if got := metrics.ScrapeTimeout(r); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}

// FuzzProbe: no target leads anywhere that is not named beforehand, and no
// timeout is waited for.
func FuzzProbe(f *testing.F) {
	f.Add("turn:127.0.0.1:3478?transport=udp", "10")
	f.Add("turns:[::1%eth0]:5349?transport=\x00", "NaN")
	f.Add("localhost", "-1e400")
	f.Add("turns:[::]Q1:5349", "")
	h := metrics.ProbeHandler(allow(f, "nowhere.invalid:9"))
	f.Fuzz(func(t *testing.T, target, timeout string) {
		code, body := asked(t, h, target, timeout)
		if code != http.StatusBadRequest && code != http.StatusForbidden || !strings.HasPrefix(body, "target: ") {
			t.Errorf("%q: %d %s", target, code, body)
		}
	})
}
