package web_test

import (
	"flag"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/registry"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/service/traffic"
	"github.com/turnwarden/turnwarden/transport/transporttest"
	"github.com/turnwarden/turnwarden/transport/web"
)

// hostile is a text that somebody else has chosen.
const hostile = `<script>document.title="owned"</script><img src=x onerror='document.title="owned"'>`

// eventful is a listed node that has seen something.
func eventful() service.Status {
	s := transporttest.Up()
	s.Node = "turn-1"
	s.Sessions.Open, s.Sessions.Created = 214, 90210
	s.Child.StartedAt, s.Child.Restarts = s.At.Add(-50*time.Hour), 2
	s.Child.Exits = []supervisor.Exit{
		{Code: -1, Signal: "SIGSEGV", Cause: supervisor.ReasonSignal, At: s.At.Add(-50 * time.Hour), Ran: 6*time.Hour + 12*time.Minute},
		{Cause: supervisor.ReasonProbe, At: s.At.Add(-57 * time.Hour), Ran: 20 * 24 * time.Hour},
	}
	s.Probe.At, s.Probe.RTT = s.At.Add(-2*time.Second), 1300*time.Microsecond
	s.Probe.Answers = []probe.Answer{
		{Transport: probe.UDP, At: s.Probe.At, Outcomes: outcomes(probe.StageBind, probe.StageUnauthorized, probe.StageAllocate, probe.StageRelay, probe.StageRefresh)},
		{Transport: probe.TCP, At: s.Probe.At, Outcomes: outcomes(probe.StageBind, probe.StageUnauthorized, probe.StageAllocate, probe.StageRelay, probe.StageRefresh)},
		{
			Transport: probe.TLS, At: s.Probe.At, Outcomes: outcomes(probe.StageTLS, probe.StageBind, probe.StageUnauthorized, probe.StageAllocate, probe.StageRelay, probe.StageRefresh),
			Certificate: probe.Certificate{NotBefore: s.At.AddDate(0, 0, -29), NotAfter: s.At.AddDate(0, 0, 61)},
		},
	}
	s.Credential = credential.Status{Active: 7, Published: s.At.Add(-95 * time.Minute), Expires: s.At.Add(22*time.Hour + 25*time.Minute), Generations: []credential.GenerationStatus{
		{ID: 6, State: credential.Retiring, Published: s.At.Add(-13 * time.Hour), Expires: s.At.Add(11 * time.Hour), Fetched: true},
		{ID: 7, State: credential.Active, Published: s.At.Add(-95 * time.Minute), Expires: s.At.Add(22*time.Hour + 25*time.Minute), Fetched: true},
	}}
	s.Traffic = traffic.Sample{
		At: s.At, Ready: true, Interval: 10 * time.Second, RxBytesPerSecond: 23.5e6, TxBytesPerSecond: 21e6, CapacityBytesPerSecond: 125e6, FreeMbps: 812.4,
		Devices: []traffic.DeviceSample{{Name: "eth0"}},
	}
	for i := range 120 {
		x := float64(i) / 120
		s.History = append(s.History, service.Throughput{
			At:               s.At.Add(time.Duration(i-119) * 30 * time.Second),
			RxBytesPerSecond: 23.5e6 * (.6 + .4*x + .15*math.Sin(9*x)), TxBytesPerSecond: 21e6 * (.5 + .5*x + .12*math.Cos(11*x)),
		})
	}
	s.Registry = &registry.Status{
		Registered: true, Session: directory.Status{State: directory.Connected},
		LastPublish: s.At.Add(-3 * time.Second), LastRecord: directory.Record{State: "up", FreeTraffic: 812.4},
	}
	s.Journal = []service.Line{
		{At: s.At.Add(-50 * time.Hour), Level: slog.LevelWarn, Part: "supervisor", Text: "turnserver is gone and its calls with it, nobody is served until the next start", Detail: `next_in=0s reason=signal end="signal SIGSEGV" duration=6h12m0s`},
		{At: s.At.Add(-57 * time.Hour), Level: slog.LevelError, Part: "probe", Text: "probes failed in a row, the TURN server is not serving", Detail: "pid=4711 failures=3 err=bind: no answer from 192.0.2.7:3478 within 2s"},
	}
	return s
}

// outcomes are those of a good round.
func outcomes(stages ...string) (all []probe.Outcome) {
	for _, s := range stages {
		all = append(all, probe.Outcome{Stage: s, OK: true})
	}
	return all
}

func TestVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*service.Status)
		want   []string // in this order
	}{
		"listed": {func(*service.Status) {}, []string{`verdict good`, `Listed, 812 Mbit/s free, 214 allocations<`}},
		"one allocation": {
			func(s *service.Status) { s.Sessions.Open = 1 },
			[]string{`verdict good`, `, 1 allocation<`},
		},
		"standalone": {
			func(s *service.Status) { s.Registry = nil },
			[]string{`verdict good`, `Serving, 812 Mbit/s free, 214 allocations<`, `registry.zookeeper is empty`, `This node stands alone`},
		},
		"ZooKeeper away": {
			func(s *service.Status) {
				s.Registry.Session.State, s.Registry.LastError = directory.Disconnected, "no ZooKeeper session"
			},
			[]string{`verdict warn`, `Listed, 812`, `<li>registry: disconnected: no ZooKeeper session`},
		},
		"name taken": {
			func(s *service.Status) {
				s.Registry.Registered, s.Registry.Conflict = false, "10.0.0.6:13478 has it"
			},
			[]string{`verdict warn`, `Serving, but not listed, 812`, `<li>registry: conflict: 10.0.0.6:13478 has it`},
		},
		"no room": {
			func(s *service.Status) { s.Traffic.FreeMbps = 0 },
			[]string{`verdict warn`, `No room left, no new clients, 214`},
		},
		"full": {
			func(s *service.Status) { s.Probe.Full, s.Probe.FullCode = true, 486 },
			[]string{`verdict warn`, `Full, no new clients, 214`, `answers 486`},
		},
		"draining":    {func(s *service.Status) { s.Draining = true }, []string{`verdict warn`, `Draining, no new clients, 214`, `<li>draining`}},
		"maintenance": {func(s *service.Status) { s.Maintenance = s.At }, []string{`verdict warn`, `Maintenance, no new clients, 214`, `<li>maintenance: since `}},
		"crash loop": {
			func(s *service.Status) {
				s.Child = supervisor.Child{State: supervisor.Backoff, LastExit: s.Child.Exits[0], Exits: s.Child.Exits, NextStart: s.At.Add(3 * time.Second)}
			},
			[]string{`verdict bad`, `Down, no new clients`, `<li>child: backoff after signal SIGSEGV`, `Next start in`, `3 s`},
		},
		"open relay": {
			func(s *service.Status) {
				s.Child = supervisor.Child{State: supervisor.Stopped, HaltCause: service.OpenRelay}
			},
			[]string{`verdict bad`, `Down, `, `<li>open_relay: `, `Kept down`, `open_relay`},
		},
		"not started": {
			func(s *service.Status) { s.Child.StartError = "permission denied" },
			[]string{`verdict bad`, `<li>child: not started: permission denied`, `Not started`},
		},
		"hangs": {
			func(s *service.Status) {
				s.Probe.Serving, s.Probe.Failures, s.Probe.Stage, s.Probe.Err = false, 3, "unauthorized", "unauthorized: no answer"
				s.Probe.Answers = []probe.Answer{{Transport: probe.UDP, At: s.At, Failures: 3, Err: s.Probe.Err, Outcomes: []probe.Outcome{{Stage: probe.StageBind, OK: true}, {Stage: probe.StageUnauthorized}}}}
			},
			[]string{`verdict bad`, `Down, `, `<li>probe: not serving: unauthorized: no answer`, `Failures in a row`, `Over udp`, `UDP<`, `answers a Binding`, `good`, `refuses`, `failed`},
		},
		"TLS alone fails": {
			func(s *service.Status) {
				s.Probe.Answers[2] = probe.Answer{Transport: probe.TLS, At: s.At, Failures: 3, Failing: true, Err: "tls: handshake failure", Outcomes: []probe.Outcome{{Stage: probe.StageTLS}}}
			},
			[]string{`verdict warn`, `Listed, 812`, `<li>probe: tls fails, and with it its clients: tls: handshake failure`, `Over tls`, `shows a certificate`, `>–<`, `>–<`, `failed`, `answers a Binding`, `good`, `>–<`},
		},
		"certificate about to end": {
			func(s *service.Status) { s.Probe.Answers[2].Certificate.NotAfter = s.At.Add(50 * time.Hour) },
			[]string{`verdict warn`, `Listed, 812`, `<li>certificate: the one that tls clients are shown ends on`, `Certificate valid for`, `attention: `, `2 d 2 h`},
		},
		"somebody else": {
			func(s *service.Status) { s.Probe.Foreign = "pid 4711 has UDP 3478" },
			[]string{`verdict bad`, `Somebody else has the port, no new clients`, `suspended: pid 4711`},
		},
		"no credential": {
			func(s *service.Status) {
				s.Credential = credential.Status{Failure: "userdb is locked", DeletesPending: 2, Generations: []credential.GenerationStatus{{ID: 8, State: credential.Pending}}}
			},
			[]string{`verdict bad`, `Down, `, `none that is verified and valid: userdb is locked`, `Rotation fails`, `Deletes pending`, `pending`, `not yet`},
		},
		"imported": {
			func(s *service.Status) {
				s.Credential.Generations = append(s.Credential.Generations, credential.GenerationStatus{ID: 9, State: credential.Retiring, Expires: s.At.Add(3*time.Hour + 20*time.Minute), Fetched: true})
			},
			[]string{`imported`, `3 h 20 min`},
		},
		"warming": {func(s *service.Status) { s.Traffic = traffic.Sample{} }, []string{`verdict warn`, `Warming, no new clients`}},
		"nothing at all": {
			func(s *service.Status) { *s = service.Status{At: s.At} },
			[]string{`verdict bad`, `Down, no new clients, 0 allocations`, `Nothing has been asked yet`, `None has been made yet`, `None since turnwarden was started`},
		},
		"restarts": {func(*service.Status) {}, []string{`Ended runs`, `2 d 2 h ago`, `signal SIGSEGV`, `6 h 12 min`, `probe`}},
		"generations": {
			func(*service.Status) {},
			[]string{`generation 7`, `1 h 35 min`, `22 h 25 min`, `<caption>Generations`, `>7<`, `active`, `>6<`, `retiring`, `13 h ago`, `11 h`},
		},
		"chart": {func(*service.Status) {}, []string{`>208 Mbit/s<`, `aria-label="Since an hour ago. received: `, ` now, at most `, `class="line0" d="M`}},
		"troubles": {
			func(*service.Status) {},
			[]string{`supervisor</b>`, `attention`, `turnserver is gone`, `end=&#34;signal SIGSEGV&#34;`, `probe</b>`, `trouble`, `no answer from`},
		},
		"hostile": {
			func(s *service.Status) { s.Node, s.Journal[0].Detail, s.Probe.Foreign = hostile, hostile, hostile },
			[]string{`&lt;script&gt;document.title`, `&lt;img src=x`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := eventful()
			c.change(&s)
			response, body := transporttest.Ask(t, transporttest.Serve(t, pages(t, s)), "GET", "/", nil)
			if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/html; charset=utf-8" || response.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s %v", response.Status, response.Header)
			}
			if csp := response.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'; script-src 'sha256-") || strings.Contains(csp, "unsafe") {
				t.Errorf("Content-Security-Policy: %s", csp)
			}
			if strings.Contains(body, "<img") || strings.Count(body, "<script>") != 1 {
				t.Error("a text became markup")
			}
			rest := body[strings.Index(body, "<main"):]
			for _, want := range c.want {
				_, after, found := strings.Cut(rest, want)
				if !found {
					t.Fatalf("no %q, in this order, in\n%s", want, body[strings.Index(body, "<main"):])
				}
				rest = after
			}
		})
	}
}

// contrast finds the text that has the least contrast to what is behind it (WCAG 2.1, 1.4.3).
const contrast = `(() => {
	const rgb = c => c.match(/[\d.]+/g).map(Number);
	const luminance = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
	let least = {ratio: 99, text: ""};
	for (const e of document.querySelectorAll("body *")) {
		if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || e.matches("script, style, noscript") || !e.checkVisibility()) continue;
		let behind = e;
		while (behind && rgb(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
		const a = luminance(rgb(getComputedStyle(e).color)), b = luminance(rgb(getComputedStyle(behind ?? document.documentElement).backgroundColor));
		const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
		if (ratio < least.ratio) least = {ratio, text: e.innerText};
	}
	return least;
})()`

// viewers are those of a status page.
func viewers() map[string]realtest.Viewer {
	return map[string]realtest.Viewer{
		"desktop":               {Width: 1100, Height: 900},
		"desktop, dark":         {Width: 1280, Height: 900, Dark: true},
		"phone":                 {Width: 360, Height: 740, Phone: true},
		"phone, dark":           {Width: 360, Height: 740, Phone: true, Dark: true},
		"without JavaScript":    {Width: 1280, Height: 900, NoScript: true},
		"phone, no JavaScript ": {Width: 320, Height: 568, Phone: true, NoScript: true},
	}
}

var screenshots = flag.String("screenshots", "", "directory to put pictures of the status pages into")

// keep puts a picture where the documentation has it, if it wants one of this viewer.
func keep(t *testing.T, tab *realtest.Tab, page, viewer string) {
	t.Helper()
	name, wanted := map[string]string{"desktop": page + ".png", "phone, dark": page + "-phone.png"}[viewer]
	if *screenshots == "" || !wanted {
		return
	}
	if err := os.WriteFile(filepath.Join(*screenshots, name), tab.Screenshot(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// legible wants everything within the window, and to be read on what is behind it.
func legible(t *testing.T, tab *realtest.Tab) {
	t.Helper()
	var wide string
	tab.Eval(`[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".hidden"))[0]?.outerHTML ?? ""`, &wide)
	if wide != "" {
		t.Errorf("wider than the window: %s", wide)
	}
	var least struct {
		Ratio float64
		Text  string
	}
	if tab.Eval(contrast, &least); least.Ratio < 4.5 {
		t.Errorf("contrast %.2f of %q, want 4.5", least.Ratio, least.Text)
	}
}

// becomes wants the page to show a new state, by itself where it runs JavaScript, and
// nothing to have been asked of anybody else.
func becomes(t *testing.T, chromium *realtest.Chromium, viewer realtest.Viewer, tab *realtest.Tab, url, title, headline string) {
	t.Helper()
	if viewer.NoScript {
		tab = chromium.Open(t, viewer, url)
	}
	realtest.Eventually(t, 20*time.Second, func() error {
		var got string
		if tab.Eval("document.title", &got); got != title || tab.Text(".headline") != headline {
			return fmt.Errorf("title %q, headline %q", got, tab.Text(".headline"))
		}
		return nil
	})
	if live := tab.Text("#live"); viewer.NoScript == (live == "live") {
		t.Errorf("live says %q", live)
	}
	for _, r := range tab.Requests() {
		if r != url+"/" && r != url+"/events" {
			t.Errorf("asks for %s", r)
		}
	}
	if e := tab.Errors(); len(e) > 0 {
		t.Errorf("Chromium complains: %q", e)
	}
}

// TestStatusPageInChromium: what viewers of every kind see, and that it stays true
// while they look.
func TestStatusPageInChromium(t *testing.T) {
	chromium := realtest.StartChromium(t)
	for name, viewer := range viewers() {
		t.Run(name, func(t *testing.T) {
			var status atomic.Pointer[service.Status]
			first := eventful()
			if *screenshots == "" {
				first.Journal[0].Detail = hostile
			}
			status.Store(&first)
			h, err := web.NewHandler("/metrics", http.NotFoundHandler(), func() service.Status { return *status.Load() }, transporttest.Plain)
			if err != nil {
				t.Fatal(err)
			}
			s := transporttest.Serve(t, h)
			tab := chromium.Open(t, viewer, s.URL)
			keep(t, tab, "status-page", name)
			if got := tab.Text(".headline"); got != "● Listed, 812 Mbit/s free, 214 allocations" {
				t.Errorf("headline %q", got)
			}
			if body := tab.Text("body"); !strings.Contains(body, "signal SIGSEGV") || *screenshots == "" && !strings.Contains(body, hostile) {
				t.Errorf("reads\n%s", body)
			}
			legible(t, tab)
			var chart float64
			if tab.Eval(`document.querySelector("path.line0").getBBox().width`, &chart); chart < 590 {
				t.Errorf("the chart is %v wide, want the whole hour", chart)
			}

			next := eventful()
			next.Draining, next.Sessions.Open = true, 3
			status.Store(&next)
			becomes(t, chromium, viewer, tab, s.URL, "turn-1: Draining, no new clients, 3 allocations", "▲ Draining, no new clients, 3 allocations")
		})
	}
}
