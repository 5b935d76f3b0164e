package transport

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/transport/sse"
)

// What the subscribers to events cost is bounded: each waits for the next event by
// itself, and none has a queue of its own.
const (
	keptEvents = 256         // for those who resume
	lookEvery  = time.Second // for what changes by the passing of time alone
	// streamLife ends a stream, which its reader resumes, so that a token that has been
	// taken out of the file does not read on for ever.
	streamLife = 5 * time.Minute
)

// Events tells what changes. No credential is in it: who hears of a new generation asks
// for it.
type Events struct {
	look        func()
	subscribers *sse.Readers
	run         string // which run of ours the ids are of
	kick        chan struct{}

	mu      sync.Mutex
	last    uint64           // id
	kept    []event          // the last keptEvents
	current map[string]event // the last about each thing
	changed chan struct{}    // closed when there is a new one
}

type event struct {
	id   uint64
	name string
	data string
}

// NewEvents returns the events of a node for at most limit subscribers at a time: the
// generation that is handed out, whether it drains, its state.
func NewEvents(status func() service.Status, limit int) *Events {
	e := newEvents(limit)
	e.look = func() { e.node(status()) }
	return e
}

func newEvents(limit int) *Events {
	return &Events{
		subscribers: sse.NewReaders(limit), run: rand.Text()[:8], kick: make(chan struct{}, 1),
		current: map[string]event{}, changed: make(chan struct{}),
	}
}

// Kick has Run look at once.
func (e *Events) Kick() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// Run looks for changes until ctx ends.
func (e *Events) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		e.look()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-e.kick:
		}
	}
}

func (e *Events) node(s service.Status) {
	reasons := service.Readiness(s)
	e.tell("state", "state", struct {
		State string `json:"state"`
		Ready bool   `json:"ready"`
	}{service.State(reasons), service.Ready(reasons)})
	e.tell("drain", "drain", struct {
		Draining bool `json:"draining"`
	}{s.Draining || s.Stopping})
	e.tell("generation", "generation", struct {
		Generation  uint64 `json:"generation"`
		ExpiredTime int64  `json:"expired_time"`
	}{s.Credential.Active, max(0, s.Credential.Expires.UnixMilli())}) // the zero time is long before 1970
}

// tell makes it an event if it is news about that thing.
func (e *Events) tell(about, name string, value any) {
	data, _ := json.Marshal(value) // of strings, numbers and booleans
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current[about].data == string(data) {
		return
	}
	e.last++
	news := event{e.last, name, string(data)}
	e.current[about] = news
	e.kept = append(e.kept[max(0, len(e.kept)+1-keptEvents):], news)
	close(e.changed)
	e.changed = make(chan struct{})
}

// after returns what came after an event, or whole, which is all that is the case now, for
// one who has missed too much, and a channel that is closed when there is more.
func (e *Events) after(id uint64) (news []event, whole bool, more <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case id == e.last:
	case id == 0 || id > e.last || id+1 < e.kept[0].id:
		whole = true
		for _, c := range e.current {
			news = append(news, c)
		}
		slices.SortFunc(news, func(a, b event) int { return cmp.Compare(a.id, b.id) })
	default:
		news = slices.Clone(e.kept[id+1-e.kept[0].id:])
	}
	return news, whole, e.changed
}

// seen reads a Last-Event-ID; 0 = none of this run.
func (e *Events) seen(header string) uint64 {
	run, number, _ := strings.Cut(header, "-")
	id, err := strconv.ParseUint(number, 10, 64)
	if err != nil || run != e.run {
		return 0
	}
	return id
}

// ServeHTTP streams events as the HTML standard has them. It begins with all that is the
// case now, or after the Last-Event-ID.
func (e *Events) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	leave, ok := e.subscribers.Enter(w, r)
	defer leave()
	if !ok {
		problem(r.Context(), w, http.StatusServiceUnavailable, "too many subscribers; ask for /v1/status instead")
		return
	}
	stream := sse.Open(w)
	life, beat := time.NewTimer(streamLife), time.NewTicker(sse.Heartbeat)
	defer life.Stop()
	defer beat.Stop()
	last := r.Header.Get("Last-Event-ID")
	id, text, begun := e.seen(last), []byte("retry: 1000\n\n"), last != ""
	for {
		news, whole, more := e.after(id)
		if whole && begun { // what is gone since is not among what is the case
			text = append(text, "event: reset\ndata: {}\n\n"...)
		}
		for _, n := range news {
			text = fmt.Appendf(text, "id: %s-%d\nevent: %s\ndata: %s\n\n", e.run, n.id, n.name, n.data)
			id, begun = n.id, true
		}
		if len(text) > 0 && stream.Send(text) != nil {
			return
		}
		text = text[:0]
		select {
		case <-r.Context().Done():
			return
		case <-life.C:
			return
		case <-beat.C:
			text = append(text, sse.StillHere...)
		case <-more:
		}
	}
}
