package transport_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/transporttest"
)

// changing is a node whose status a test sets.
type changing struct {
	mu sync.Mutex
	s  service.Status
}

func (c *changing) status() service.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.s
	s.At = time.Now()
	s.Traffic.At = s.At
	return s
}

func (c *changing) set(change func(*service.Status)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.s)
}

// watched is a node that serves, and its events, which are followed until the test ends.
func watched(t *testing.T, limit int) (*changing, *transport.Events) {
	t.Helper()
	node := &changing{s: transporttest.Up()}
	node.s.Credential.Active, node.s.Credential.Expires = 7, time.UnixMilli(1790000000000)
	events := transport.NewEvents(node.status, 8*limit) // of which one caller has an eighth
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- events.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return node, events
}

// told is one event as a reader gets it.
type told struct{ ID, Name, Data string }

// reader is a subscriber.
type reader struct {
	events chan told
	end    context.CancelFunc
	code   int
	header http.Header
}

// subscribe reads events over a pipe, with the deadlines that a server's writer has.
func subscribe(t *testing.T, h http.Handler, after string) *reader {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, "GET", "/v1/events", nil)
	if after != "" {
		r.Header.Set("Last-Event-ID", after)
	}
	body, w := io.Pipe()
	p := &piped{header: http.Header{}, w: w, wrote: make(chan int, 1)}
	go func() {
		h.ServeHTTP(p, r)
		_ = w.Close()
	}()
	sub := &reader{events: make(chan told, 1000), end: func() {
		cancel()
		_ = body.Close()
	}, header: p.header}
	t.Cleanup(sub.end)
	go func() {
		defer close(sub.events)
		lines := bufio.NewScanner(body)
		var e told
		for lines.Scan() {
			key, value, _ := strings.Cut(lines.Text(), ": ")
			switch key {
			case "id":
				e.ID = value
			case "event":
				e.Name = value
			case "data":
				e.Data = value
			case "":
				if e.Name != "" {
					sub.events <- e
				}
				e = told{}
			}
		}
	}()
	sub.code = <-p.wrote
	return sub
}

type piped struct {
	header http.Header
	w      *io.PipeWriter
	once   sync.Once
	wrote  chan int
}

func (p *piped) Header() http.Header { return p.header }
func (p *piped) WriteHeader(code int) {
	p.once.Do(func() { p.wrote <- code })
}

func (p *piped) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	return p.w.Write(b)
}
func (p *piped) Flush()                           {}
func (p *piped) SetWriteDeadline(time.Time) error { return nil }

// take returns the events that are there when all is at rest.
func (r *reader) take() []told {
	synctest.Wait()
	var all []told
	for {
		select {
		case e, ok := <-r.events:
			if !ok {
				return append(all, told{Name: "end"})
			}
			all = append(all, e)
		default:
			return all
		}
	}
}

func names(all []told) (list []string) {
	for _, e := range all {
		list = append(list, e.Name+" "+e.Data)
	}
	return list
}

const (
	stateUp       = `state {"state":"up","ready":true}`
	stateDraining = `state {"state":"draining","ready":false}`
	reset         = `reset {}`
	drainOff      = `drain {"draining":false}`
	drainOn       = `drain {"draining":true}`
	seven         = `generation {"generation":7,"expired_time":1790000000000}`
	eight         = `generation {"generation":8,"expired_time":1790000060000}`
)

func expectEvents(t *testing.T, r *reader, want ...string) []told {
	t.Helper()
	got := r.take()
	if diff := cmp.Diff(want, names(got)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	return got
}

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node, events := watched(t, 100)
		synctest.Wait()
		first := subscribe(t, events, "")
		expectEvents(t, first, stateUp, drainOff, seven) // who comes learns what is
		rotate := func(s *service.Status) {
			s.Credential.Active, s.Credential.Expires = 8, time.UnixMilli(1790000060000)
		}
		node.set(rotate)
		expectEvents(t, first) // nobody has been told
		events.Kick()
		rotated := expectEvents(t, first, eight) // at once
		node.set(func(s *service.Status) { s.Draining = true })
		time.Sleep(time.Second) // without a word from anybody
		expectEvents(t, first, stateDraining, drainOn)
		time.Sleep(time.Minute)
		expectEvents(t, first) // nothing is said twice
		if h := first.header; h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("header: %v", h)
		}

		t.Log("who resumes gets what it has missed, and who is new gets what is")
		expectEvents(t, subscribe(t, events, rotated[0].ID), stateDraining, drainOn)
		expectEvents(t, subscribe(t, events, ""), eight, stateDraining, drainOn)
		run, _, _ := strings.Cut(rotated[0].ID, "-")
		for _, odd := range []string{"AAAAAAAA-4", run + "-999", run + "-0", run + "-", run, "-", "4", "x-18446744073709551616"} {
			if got := subscribe(t, events, odd).take(); len(got) != 4 || names(got)[0] != reset {
				t.Errorf("Last-Event-ID %q: %v, want to be told so and all three that are", odd, got)
			}
		}
		expectEvents(t, subscribe(t, events, run+"-6")) // up to date
	})
}

// TestEventsMissedByFar: who has missed more than is kept gets what is, not a part.
func TestEventsMissedByFar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node, events := watched(t, 10)
		synctest.Wait()
		early := subscribe(t, events, "").take()
		for i := range 300 {
			node.set(func(s *service.Status) { s.Credential.Active = uint64(100 + i) })
			events.Kick()
			synctest.Wait()
		}
		last := `generation {"generation":399,"expired_time":1790000000000}`
		expectEvents(t, subscribe(t, events, early[2].ID), reset, stateUp, drainOff, last)
		run, _, _ := strings.Cut(early[0].ID, "-")
		for id, want := range map[int]int{302: 1, 48: 255, 47: 256, 46: 4} { // 303 in all, 48 to 303 are kept
			if got := len(subscribe(t, events, fmt.Sprintf("%s-%d", run, id)).take()); got != want {
				t.Errorf("after %d: %d events, want %d", id, got, want)
			}
		}
	})
}

func TestEventsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, events := watched(t, 2)
		synctest.Wait()
		one, two := subscribe(t, events, ""), subscribe(t, events, "")
		three := subscribe(t, events, "")
		if one.code != 200 || two.code != 200 || three.code != 503 || three.header.Get("Retry-After") == "" {
			t.Errorf("got %d, %d, %d; want the third told to come later", one.code, two.code, three.code)
		}
		one.end()
		synctest.Wait()
		if four := subscribe(t, events, ""); four.code != 200 {
			t.Errorf("with room again: %d", four.code)
		}
		two.take()
		time.Sleep(5*time.Minute + time.Second)
		expectEvents(t, two, "end ")
	})
}

// TestEventsShare: one token has an eighth of the streams, from wherever it asks, and leaves
// the others theirs.
func TestEventsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, events := watched(t, 2) // of 16
		synctest.Wait()
		all, secrets := tokens(t, 0, "greedy", "other")
		h := transport.NewAPIHandler(transport.NewEndpoints(good), transporttest.Plain, transport.APIOptions{Events: events, Access: transport.Access{Tokens: all}})
		with := func(secret string, host int) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Set("Authorization", "Bearer "+secret)
				r.RemoteAddr = fmt.Sprintf("198.51.%d.1:50000", host)
				h.ServeHTTP(w, r)
			})
		}
		for i, want := range []int{200, 200, 503, 503} {
			if got := subscribe(t, with(secrets[0], i), ""); got.code != want {
				t.Errorf("stream %d of one token: %d, want %d", i+1, got.code, want)
			}
		}
		if got := subscribe(t, with(secrets[1], 0), ""); got.code != 200 {
			t.Errorf("another token: %d", got.code)
		}
	})
}

// TestEventsOverHTTP: a stream outlives the limits of a request and of a reply.
func TestEventsOverHTTP(t *testing.T) {
	node, events := watched(t, 10)
	s := httptest.NewUnstartedServer(transport.NewAPIHandler(transport.NewEndpoints(good), transporttest.Plain, transport.APIOptions{Events: events}))
	s.Config.ReadTimeout, s.Config.WriteTimeout = time.Second, time.Second
	s.Start()
	t.Cleanup(s.Close)
	response, err := s.Client().Get(s.URL + "/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	next := func(want string) {
		t.Helper()
		for lines.Scan() {
			if lines.Text() == "data: "+want {
				return
			}
		}
		t.Fatalf("the stream ended before %s: %v", want, lines.Err())
	}
	next(`{"generation":7,"expired_time":1790000000000}`)
	begin := time.Now()
	for i := range 3 {
		<-time.After(1200 * time.Millisecond) // beyond both limits
		node.set(func(s *service.Status) { s.Credential.Active = uint64(10 + i) })
		events.Kick()
		next(fmt.Sprintf(`{"generation":%d,"expired_time":1790000000000}`, 10+i))
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("three changes took %v", took)
	}
	if got, _ := transporttest.Ask(t, s, "POST", "/v1/events", nil); got.StatusCode != 405 || got.Header.Get("Allow") != "GET" {
		t.Errorf("POST: %s, Allow %q", got.Status, got.Header.Get("Allow"))
	}
}

// TestManySubscribers: a thousand hear of a rotation within a second.
func TestManySubscribers(t *testing.T) {
	const subscribers = 1000
	node, events := watched(t, subscribers)
	var heard sync.WaitGroup
	ready, took := make(chan struct{}, subscribers), make(chan time.Duration, subscribers)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var rotated time.Time
	for range subscribers {
		heard.Go(func() {
			r := httptest.NewRequestWithContext(ctx, "GET", "/v1/events", nil)
			w := &listening{header: http.Header{}, hear: func(text string) {
				if strings.Contains(text, `"generation":7`) {
					ready <- struct{}{}
				}
				if strings.Contains(text, `"generation":8`) {
					took <- time.Since(rotated)
				}
			}}
			events.ServeHTTP(w, r)
		})
	}
	for range subscribers {
		<-ready
	}
	rotated = time.Now()
	node.set(func(s *service.Status) { s.Credential.Active = 8 })
	events.Kick()
	var slowest time.Duration
	for range subscribers {
		slowest = max(slowest, <-took)
	}
	t.Logf("the last of %d subscribers heard after %v", subscribers, slowest)
	if slowest > 5*time.Second { // 1 s on a machine of one's own
		t.Errorf("the last heard after %v", slowest)
	}
	cancel()
	heard.Wait()
}

type listening struct {
	header http.Header
	hear   func(string)
}

func (l *listening) Header() http.Header { return l.header }
func (l *listening) WriteHeader(int)     {}
func (l *listening) Write(b []byte) (int, error) {
	l.hear(string(b))
	return len(b), nil
}
func (l *listening) Flush()                           {}
func (l *listening) SetWriteDeadline(time.Time) error { return nil }

func FuzzLastEventID(f *testing.F) {
	node := &changing{s: transporttest.Up()}
	events := transport.NewEvents(node.status, 1)
	ctx, cancel := context.WithCancel(f.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = events.Run(ctx)
	}()
	f.Cleanup(func() {
		cancel()
		<-done
	})
	f.Add("AAAAAAAA-1")
	f.Add("-")
	f.Fuzz(func(t *testing.T, id string) {
		gone, leave := context.WithCancel(t.Context())
		leave()
		r := httptest.NewRequestWithContext(gone, "GET", "/v1/events", nil)
		r.Header["Last-Event-Id"] = []string{id}
		var all string
		events.ServeHTTP(&listening{header: http.Header{}, hear: func(text string) { all += text }}, r)
		if !strings.HasPrefix(all, "retry: 1000\n\n") || strings.Count(all, "\n\n") > 5 { // a reset and three events
			t.Errorf("after %q: %q", id, all)
		}
	})
}
