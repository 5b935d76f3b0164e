package credential_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/go-kit/kit/metrics"
	"github.com/go-kit/kit/metrics/generic"

	"github.com/turnwarden/turnwarden/service/credential"
)

// life is what clients were promised about one user, by the wall clock and in
// time that really passes.
type life struct {
	wall, mono time.Time
	held       bool // some client has it
	lost       bool // the state file that named it was lost
}

// ends returns when the user may go. Both clocks have to agree, but what a lost
// file promised is not known any more: lifetime and skew of real time must do.
func (l *life) ends() time.Time {
	if l.lost {
		return l.mono
	}
	return later(l.wall, l.mono)
}

// world is all that surrounds a rotator: a userdb, a TURN server that looks its
// users up there, a disk, and clients. It lives in a synctest bubble. A process
// dies at a point: at the beginning and end of each call, after each save
// (which leaves an audit line) and when it says that something changed; these
// are all the places where the disk or the userdb differ from one to the next.
type world struct {
	cfg  credential.Config
	file *credential.File
	dir  string
	disk string       // where the state file really is
	link string       // how the rotator reaches it
	log  *slog.Logger // each line is a point

	rotations, failures             *generic.Counter
	transitions, transitionFailures tally

	stopRun context.CancelFunc
	done    <-chan struct{} // closed when Run has returned or the process has died
	images  []func()        // end what upgrades have left, which stands still
	alive   context.Context // ended then, too

	mu        sync.Mutex // guards what follows
	rot       *credential.Rotator
	lines     strings.Builder
	users     map[string]string // the userdb
	vanished  map[string]bool   // rows of ours that somebody else deleted
	strangers map[string]bool   // rows that are none of ours
	faults    map[string]fault
	calls     int // under way
	counts    map[string]int
	proved    map[string]bool // by this process
	serving   string          // what this process handed out last
	lives     map[string]*life
	revoked   map[string]bool // users that were on record as compromised
	asked     map[uint64]bool // to be revoked; 0 stands for all
	rotation  *rotation       // the last request for one that joined none
	published bool            // since the state was lost last
	eager     bool            // clients fetch at every point
	dieIn     int             // points until the process dies; 0: it lives on
	breaksAt  string          // what a line says after which the disk fails; "": none does
	broken    error
}

// newWorld makes a world whose disk is in memory where there is such a thing:
// each save is synced, and a test saves hundreds of times.
func newWorld(t interface{ Fatal(...any) }, lifetime, rotateEvery time.Duration) *world {
	dir, err := os.MkdirTemp("/dev/shm", "credential")
	if err != nil {
		dir, err = os.MkdirTemp("", "credential")
	}
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		dir:       dir,
		cfg:       credential.Config{Node: "turn-1", Realm: "example.org", Lifetime: lifetime, RotateEvery: rotateEvery},
		disk:      filepath.Join(dir, "disk"),
		link:      filepath.Join(dir, "link"),
		rotations: generic.NewCounter("rotations"), failures: generic.NewCounter("failures"),
		users: map[string]string{}, vanished: map[string]bool{}, strangers: map[string]bool{},
		faults: map[string]fault{}, counts: map[string]int{}, proved: map[string]bool{}, lives: map[string]*life{},
		revoked: map[string]bool{}, asked: map[uint64]bool{},
		transitions: tally{of: map[string]float64{}}, transitionFailures: tally{of: map[string]float64{}},
	}
	w.file = credential.NewFile(filepath.Join(w.link, "credentials.json"))
	w.log = slog.New(lineHandler{slog.NewJSONHandler(&w.lines, nil), w})
	if err := os.Mkdir(w.disk, 0o700); err != nil {
		t.Fatal(err)
	}
	return w
}

// end stops the process and removes the disk.
func (w *world) end() {
	w.stop()
	for _, end := range w.images {
		end()
	}
	_ = os.RemoveAll(w.dir)
}

// lineHandler makes each log line a point.
type lineHandler struct {
	slog.Handler
	w *world
}

func (h lineHandler) Handle(ctx context.Context, r slog.Record) error {
	h.w.mu.Lock()
	begin := h.w.lines.Len()
	err := h.Handler.Handle(ctx, r)
	if h.w.breaksAt != "" && strings.Contains(h.w.lines.String()[begin:], h.w.breaksAt) {
		h.w.unmount()
	}
	h.w.mu.Unlock()
	h.w.point()
	return err
}

func (h lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return lineHandler{h.Handler.WithAttrs(attrs), h.w}
}

// tally counts per value of the one label, which go-kit's generic counter does not.
// Only Run's goroutine counts.
type tally struct {
	of    map[string]float64
	value string
}

func (t tally) With(label ...string) metrics.Counter { return tally{t.of, label[1]} }
func (t tally) Add(delta float64)                    { t.of[t.value] += delta }

func (w *world) mount()   { _ = os.Symlink(w.disk, w.link) }
func (w *world) unmount() { _ = os.Remove(w.link) }

// start boots the process and waits until it has nothing to do.
func (w *world) start() {
	w.reboot()
	w.run(nil)
}

// upgrade has another image of the process go on, unless it dies before, or a step takes
// too long.
func (w *world) upgrade() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rot := w.rotator()
	if _, err := rot.Pause(ctx); err != nil {
		return err
	}
	data, err := json.Marshal(rot.Save())
	if err != nil {
		return err
	}
	var saved credential.Saved
	if err := json.Unmarshal(data, &saved); err != nil {
		return err
	}
	stop, done := w.stopRun, w.done
	w.images = append(w.images, func() { stop(); <-done })
	w.mount()
	w.run(&saved)
	return nil
}

// reboot is what a new process means for the promises of the one before.
func (w *world) reboot() {
	w.mount()
	now := time.Now()
	_, err := w.read()
	w.mu.Lock()
	w.proved, w.serving, w.dieIn, w.published = map[string]bool{}, "", 0, w.published && err == nil
	if err != nil {
		clear(w.revoked) // nobody can know any more
	}
	for user, l := range w.lives {
		switch {
		case err == nil:
			// Only the wall clock survives a restart.
			l.mono = now.Add(min(max(l.wall.Sub(now), 0), w.cfg.Lifetime))
		case l.held:
			l.wall = earlier(l.ends(), now.Add(w.cfg.Lifetime))
			l.mono, l.lost = l.wall, true
		default:
			delete(w.lives, user)
		}
	}
	w.mu.Unlock()
}

func (w *world) run(saved *credential.Saved) {
	rot := credential.New(w.cfg, w, w, w.file, w.changed, w.log, credential.Metrics{
		Rotations: w.rotations, Failures: w.failures, Transitions: w.transitions, TransitionFailures: w.transitionFailures,
	})
	rot.WithoutJitter()
	if saved != nil {
		rot.Restore(*saved)
	}
	ctx, cancel := context.WithCancel(context.Background())
	alive, died := context.WithCancel(context.Background())
	w.mu.Lock()
	w.rot, w.stopRun, w.done, w.alive, w.rotation = rot, cancel, alive.Done(), alive, nil
	w.mu.Unlock()
	go func() {
		defer died()
		_ = rot.Run(ctx)
	}()
	synctest.Wait()
}

// stop ends the process if it runs; it may be asked twice.
func (w *world) stop() {
	if w.stopRun != nil {
		w.stopRun()
		<-w.done
	}
	w.mu.Lock()
	w.rot = nil
	w.mu.Unlock()
}

func (w *world) running() bool { return w.rotator() != nil }

func (w *world) rotator() *credential.Rotator {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rot
}

// pass lets time go by, and then waits until nothing more happens in this instant.
func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// fail sets how calls of op go from now on.
func (w *world) fail(op string, f fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults[op] = f
}

func (w *world) heal() {
	w.mount()
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.faults)
}

// fetch is what a client does.
func (w *world) fetch() (credential.Credential, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fetchLocked()
}

func (w *world) fetchLocked() (credential.Credential, bool) {
	c, ok := w.rot.Hand()
	if ok {
		w.see(c).held = true
	}
	return c, ok
}

func (w *world) held(user string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.lives[user]
	return l != nil && l.held
}

// see notes the promise that comes with c, when it is new.
func (w *world) see(c credential.Credential) *life {
	if w.lives[c.Username] == nil {
		w.lives[c.Username] = &life{wall: c.Expires, mono: c.Expires}
	}
	w.published, w.serving = true, c.Username
	return w.lives[c.Username]
}

// setClock sets the wall clock forward, or back where d is negative.
func (w *world) setClock(d time.Duration) error {
	if err := w.file.SetClock(w.cfg, d); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rot != nil {
		w.rot.SetClock(d)
	}
	for user, l := range w.lives {
		if !time.Now().Before(l.ends()) {
			delete(w.lives, user) // a promise that was kept does not come back
		}
		if l.lost && d < 0 {
			continue // until when it is kept for is not put on record anew
		}
		l.wall = l.wall.Add(-d)
	}
	return nil
}

// vanish deletes rows of ours behind the rotator's back.
func (w *world) vanish(ours func(user string) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for user := range w.users {
		if !w.strangers[user] && ours(user) {
			delete(w.users, user)
			w.vanished[user] = true
		}
	}
}

// stranger puts a user that is none of ours.
func (w *world) stranger(user string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.users[user], w.strangers[user] = "theirs", true
}

func (w *world) changed() {
	w.mu.Lock()
	w.counts["changed"]++
	w.mu.Unlock()
	w.point()
}

func (w *world) count(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts[what]
}

func (w *world) logged() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lines.String()
}

// ours returns the users in the store that are not strangers.
func (w *world) ours() map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	users := maps.Clone(w.users)
	maps.DeleteFunc(users, func(user, _ string) bool { return w.strangers[user] })
	return users
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.After(b) {
		return b
	}
	return a
}
