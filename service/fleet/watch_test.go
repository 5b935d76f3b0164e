package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/kit/metrics/discard"
	"github.com/go-zookeeper/zk"

	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/realtest"
)

const path = "/turn/servers"

// watched is a watcher that runs until the test ends.
type watched struct {
	*Watcher
	t     *testing.T
	calls atomic.Int64 // of changed
}

func watch(t *testing.T, z *realtest.ZooKeeper, timeout time.Duration, change ...func(*Watcher)) *watched {
	t.Helper()
	w := &watched{t: t}
	w.Watcher = NewWatcher(Config{
		Directory: directory.Config{Servers: []string{z.Addr()}, SessionTimeout: timeout, ACL: directory.ACLOpen}, Path: path,
	}, func(*Snapshot) { w.calls.Add(1) }, slog.New(slog.DiscardHandler), uncounted())
	for _, f := range change {
		f(w.Watcher)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
	return w
}

func uncounted() Metrics {
	return Metrics{Metrics: directory.Metrics{Operations: discard.NewCounter(), Failures: discard.NewCounter()}, Rejected: discard.NewCounter()}
}

// sees waits until the nodes are as wanted: "name state, name state held".
func (w *watched) sees(limit time.Duration, want string) *Snapshot {
	w.t.Helper()
	var s *Snapshot
	realtest.Eventually(w.t, limit, func() error {
		s = w.Snapshot()
		if got := describe(s); got != want {
			return fmt.Errorf("the view is %q, want %q", got, want)
		}
		return nil
	})
	return s
}

func describe(s *Snapshot) string {
	var all []string
	for _, n := range s.Nodes {
		text := n.Name + " " + n.State()
		if n.Held {
			text += " held"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// writer is a session with some nodes of its own that are written every 200 ms.
type writer struct {
	stop func()
	mute atomic.Bool
}

func write(t *testing.T, z *realtest.ZooKeeper, timeout time.Duration, names ...string) *writer {
	t.Helper()
	s := directory.New(directory.Config{Servers: []string{z.Addr()}, SessionTimeout: timeout, ACL: directory.ACLOpen},
		slog.New(slog.DiscardHandler), uncounted().Metrics)
	var nodes []*directory.Node
	for _, name := range names {
		nodes = append(nodes, s.Node(path+"/"+name, func(_, _ []byte) bool { return false }))
	}
	w := &writer{}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { _ = s.Run(ctx) })
	all.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for seq := uint64(1); ctx.Err() == nil; seq++ {
			for i, n := range nodes {
				if !w.mute.Load() {
					_ = n.Put(record(names[i], seq).Encode()) // what fails now, succeeds later
				}
			}
			select {
			case <-ctx.Done():
			case <-s.Changed():
			case <-tick.C:
			}
		}
	})
	w.stop = sync.OnceFunc(func() {
		cancel()
		all.Wait()
	})
	t.Cleanup(w.stop)
	return w
}

func record(name string, seq uint64) directory.Record {
	return directory.Record{
		FreeTraffic: 800, RESTAddr: "10.0.0.1:1" + fmt.Sprint(len(name)) + fmt.Sprint(name[len(name)-1]), V: 1, RESTScheme: "http", Node: name,
		URIs: []string{"turn:10.0.0.1:3478?transport=udp"}, CapacityMbps: 1000, State: "up", Generation: 1, Seq: seq, IntervalSec: 1, Version: "1",
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	w := watch(t, z, 4*time.Second)
	if s := w.Snapshot(); s.Complete || s.Live(time.Now()) || len(s.Nodes) > 0 {
		t.Errorf("before the first reading: %+v", s)
	}
	realtest.Eventually(t, 20*time.Second, func() error {
		if s := w.Snapshot(); !s.Complete || !s.Live(time.Now()) {
			return fmt.Errorf("an empty fleet: %+v", s)
		}
		return nil
	})
	a := write(t, z, 4*time.Second, "a")
	b := write(t, z, 4*time.Second, "b")
	w.sees(20*time.Second, "a up, b up")
	seq := func() uint64 { return w.Snapshot().Find("b").Record.Seq }
	before := seq()
	realtest.Eventually(t, 20*time.Second, func() error {
		if seq() == before {
			return errors.New("no write is seen")
		}
		return nil
	})
	a.stop() // in order, so that it is gone at once
	s := w.sees(5*time.Second, "b up")
	if s.Find("a") != nil || s.Find("") != nil || s.Find("z") != nil {
		t.Error("found a node that is not there")
	}

	b.mute.Store(true)
	began := time.Now()
	w.sees(30*time.Second, "b stale")
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("stale after %v, want three intervals of 1 s from the last write", took)
	}
	if c := w.Snapshot().Candidates(); len(c) != 1 || c[0].Up {
		t.Errorf("candidates %+v, want b, not up", c)
	}
	b.mute.Store(false)
	w.sees(20*time.Second, "b up")
	if c := w.Snapshot().Candidates(); len(c) != 1 || !c[0].Up {
		t.Errorf("candidates %+v, want b, up", c)
	}
	if w.Session().State != directory.Connected || w.calls.Load() == 0 {
		t.Errorf("session %+v, %d calls", w.Session(), w.calls.Load())
	}
}

// TestWatchRejects has records that make no sense beside one that does.
func TestWatchRejects(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	c := z.Client(t)
	record := func(name string, seq uint64) directory.Record {
		r := record(name, seq)
		r.IntervalSec = 60 // none of them is to be stale before the end
		return r
	}
	for _, p := range []string{"/turn", path} {
		if _, err := c.Create(p, nil, 0, zk.WorldACL(zk.PermAll)); err != nil {
			t.Fatal(err)
		}
	}
	put := func(name string, r directory.Record, data string) {
		t.Helper()
		if data == "" {
			data = string(r.Encode())
		}
		if _, err := c.Create(path+"/"+name, []byte(data), 0, zk.WorldACL(zk.PermAll)); err != nil {
			t.Fatal(err)
		}
	}
	put("seed", directory.Record{}, `{"freeTraffic":800.0, "restAddr":"10.0.0.9:1"}`)
	put("syntax", directory.Record{}, `{`)
	put("size", directory.Record{}, strings.Repeat(" ", maxRecord)+`{"freeTraffic":800.0, "restAddr":"10.0.0.9:2"}`)
	put("na\u202eme", record("b", 1), "")
	put("value", directory.Record{FreeTraffic: 1, RESTAddr: "user@10.0.0.1:1"}, "")
	w := watch(t, z, 4*time.Second, func(w *Watcher) { w.cfg.Allows = netip.Addr.IsPrivate })
	if s := w.sees(20*time.Second, "seed unknown"); s.Rejected != 4 {
		t.Errorf("%d records were rejected, want 4", s.Rejected)
	}

	// A node that was renamed: its old record is still there.
	put("old", record("x", 1), "")
	w.sees(20*time.Second, "old up, seed unknown")
	put("new", record("x", 1), "")
	w.sees(20*time.Second, "new up, old superseded, seed unknown")
	if err := c.Delete(path+"/new", -1); err != nil {
		t.Fatal(err)
	}
	w.sees(20*time.Second, "old up, seed unknown")

	// What made sense makes none any more, and does again.
	if _, err := c.Set(path+"/old", []byte("?"), -1); err != nil {
		t.Fatal(err)
	}
	w.sees(20*time.Second, "seed unknown")
	if _, err := c.Set(path+"/old", record("x", 2).Encode(), -1); err != nil {
		t.Fatal(err)
	}
	w.sees(20*time.Second, "old up, seed unknown")
	if err := c.Delete(path+"/syntax", -1); err != nil {
		t.Fatal(err)
	}
	realtest.Eventually(t, 10*time.Second, func() error {
		if n := w.Snapshot().Rejected; n != 3 {
			return fmt.Errorf("%d rejected records, want 3", n)
		}
		return nil
	})

	// An address that may not be asked. Where a name leads is seen when it is asked.
	rogue := record("rogue", 1)
	for i, test := range []struct {
		addr, state string
		up          bool
	}{{"203.0.113.9:1", "forbidden", false}, {"[2001:db8::1]:1", "forbidden", false}, {"10.0.0.77:1", "up", true}, {"turn.example.org:1", "up", true}} {
		rogue.RESTAddr, rogue.Seq = test.addr, uint64(i)
		if i == 0 {
			put("rogue", rogue, "")
		} else if _, err := c.Set(path+"/rogue", rogue.Encode(), -1); err != nil {
			t.Fatal(err)
		}
		s := w.sees(20*time.Second, "old up, rogue "+test.state+", seed unknown")
		if got := s.Find("rogue").Candidate().Up; got != test.up {
			t.Errorf("at %s it can be picked: %v, want %v", test.addr, got, test.up)
		}
		realtest.Eventually(t, 10*time.Second, func() error {
			if got := w.Snapshot().Find("rogue").Record.RESTAddr; got != test.addr {
				return fmt.Errorf("its address is %s, want %s", got, test.addr)
			}
			return nil
		})
	}
}

// TestWatchOversized: whoever can write below the path can make neither a record nor a
// list so long that the others cannot be read.
func TestWatchOversized(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	c := z.Client(t)
	write(t, z, 4*time.Second, "a")
	w := watch(t, z, 4*time.Second)
	w.sees(20*time.Second, "a up")
	size := 1 << 20 // the longest that ZooKeeper takes
	for ; size > 1<<19; size-- {
		_, err := c.Create(path+"/long", make([]byte, size), 0, zk.WorldACL(zk.PermAll))
		if err == nil {
			break
		}
		c = z.Client(t) // ZooKeeper has hung up
	}
	t.Logf("a record of %d bytes", size)
	realtest.Eventually(t, 30*time.Second, func() error {
		if s := w.Snapshot(); s.Rejected != 1 || !s.Live(time.Now()) {
			return fmt.Errorf("rejected %d, live %v: %+v", s.Rejected, s.Live(time.Now()), w.Session())
		}
		return nil
	})
	// Several megabytes of names.
	for n := range 10 {
		var ops []any
		for i := range 200 {
			ops = append(ops, &zk.CreateRequest{Path: fmt.Sprintf("%s/%d-%d-%s", path, n, i, strings.Repeat("x", 1500)), Acl: zk.WorldACL(zk.PermAll)})
		}
		if _, err := c.Multi(ops...); err != nil {
			t.Fatal(err)
		}
	}
	before := w.Snapshot().Find("a").Record.Seq
	realtest.Eventually(t, 60*time.Second, func() error {
		s := w.Snapshot()
		if a := s.Find("a"); a == nil || a.Record.Seq <= before || s.Rejected != 2001 || !s.Live(time.Now()) {
			return fmt.Errorf("rejected %d, live %v, %+v: %+v", s.Rejected, s.Live(time.Now()), a, w.Session())
		}
		return nil
	})
}

// TestWatchCrowded: names that no node bears come before all others, and so many of them as
// are read at most. The fleet is seen all the same, also by a gateway that starts then.
func TestWatchCrowded(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	c := z.Client(t)
	write(t, z, 4*time.Second, "a")
	before := watch(t, z, 4*time.Second)
	before.sees(20*time.Second, "a up")
	const crowd = 20_000
	for n := 0; n < crowd; n += 500 {
		var ops []any
		for i := range 500 {
			ops = append(ops, &zk.CreateRequest{Path: fmt.Sprintf("%s/!%d", path, n+i), Acl: zk.WorldACL(zk.PermAll)})
		}
		if _, err := c.Multi(ops...); err != nil {
			t.Fatal(err)
		}
	}
	after := watch(t, z, 4*time.Second)
	for name, w := range map[string]*watched{"before": before, "after": after} {
		realtest.Eventually(t, 60*time.Second, func() error {
			if s := w.Snapshot(); s.Rejected != crowd || describe(s) != "a up" {
				return fmt.Errorf("%s: rejected %d, %q", name, s.Rejected, describe(s))
			}
			return nil
		})
	}
}

// TestWatchMassLoss pauses ZooKeeper for longer than all sessions live: every record
// vanishes, and whoever reads the fleet can always pick among most of it: ZooKeeper
// deletes one after the other, and the first may be missed before most are seen to be gone.
func TestWatchMassLoss(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	write(t, z, time.Second, "a", "b", "c")
	w := watch(t, z, time.Second)
	w.sees(20*time.Second, "a up, b up, c up")
	c := z.Client(t)
	least := make(chan int, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		n := 3
		for ctx.Err() == nil {
			up := 0
			for _, c := range w.Snapshot().Candidates() {
				if c.Up {
					up++
				}
			}
			n = min(n, up)
			select {
			case <-ctx.Done():
			case <-time.After(time.Millisecond):
			}
		}
		least <- n
	}()

	z.Pause()
	realtest.Eventually(t, 20*time.Second, func() error {
		if w.Snapshot().Live(time.Now()) || w.Session().State == directory.Connected {
			return errors.New("the view counts as live, though ZooKeeper hangs")
		}
		return nil
	})
	<-time.After(3 * time.Second) // three session timeouts
	z.Cont()
	gone := false
	realtest.Eventually(t, 20*time.Second, func() error {
		names, _, err := c.Children(path)
		gone = gone || err == nil && len(names) == 0
		if s := w.Snapshot(); err != nil || len(names) != 3 || s.Held > 0 || !s.Live(time.Now()) {
			return fmt.Errorf("%q %v: %s", names, err, describe(s))
		}
		return nil
	})
	w.sees(20*time.Second, "a up, b up, c up")
	stop()
	if n := <-least; n < 2 {
		t.Errorf("at one moment only %d nodes could be picked", n)
	}
	t.Logf("the list was seen empty: %v", gone)
}

// TestWatchHolds deletes all records for good: they are held, and then they are not.
func TestWatchHolds(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	ab := write(t, z, time.Second, "a", "b")
	w := watch(t, z, time.Second, func(w *Watcher) { w.guard.hold = 3500 * time.Millisecond })
	w.sees(20*time.Second, "a up, b up")
	ab.stop()
	began := time.Now()
	if s := w.sees(10*time.Second, "a up held, b up held"); s.Held != 2 {
		t.Errorf("%+v", s)
	}
	w.sees(20*time.Second, "")
	if took := time.Since(began); took < 3*time.Second {
		t.Errorf("held for %v", took)
	}
}

// TestWatchWithoutZooKeeper: the last view stands for as long as ZooKeeper is away, and
// for an interval after.
func TestWatchWithoutZooKeeper(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	// The writers' session outlives ZooKeeper's absence.
	a := write(t, z, 30*time.Second, "a")
	w := watch(t, z, time.Second)
	w.sees(20*time.Second, "a up")
	a.mute.Store(true)
	z.Kill()
	<-time.After(5 * time.Second) // more than three intervals of the record
	if s := w.Snapshot(); describe(s) != "a up" || s.Live(time.Now()) {
		t.Errorf("without ZooKeeper: %q, live %v", describe(s), s.Live(time.Now()))
	}
	z.Start()
	z.WaitReady()
	realtest.Eventually(t, 20*time.Second, func() error {
		if !w.Snapshot().Live(time.Now()) {
			return errors.New("ZooKeeper is back, and the view is not live")
		}
		return nil
	})
	if got := describe(w.Snapshot()); got != "a up" {
		t.Errorf("just back: %q", got)
	}
	w.sees(20*time.Second, "a stale")
	a.mute.Store(false)
	w.sees(20*time.Second, "a up")
}

// FuzzAccept checks that what passes can be shown, put into a URL and given to a browser.
func FuzzAccept(f *testing.F) {
	f.Add("turn-1", record("a", 1).Encode())
	f.Add("turn-1", []byte(`{"freeTraffic":1,"restAddr":"[::1]:1","allocations":-9223372036854775808,"rxMbps":1e308}`))
	f.Add("turn-1", []byte(`{"freeTraffic":1e308,"restAddr":"[::1]:1","capacityMbps":1e308,"allocations":9223372036854775807}`))
	f.Add("turn-1", []byte(`{"freeTraffic":1e308,"restAddr":"[::1]:1","uris":["turn:x"],"intervalSec":1e9,"region":"\u0000"}`))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		n, bad := accept(directory.Change{Name: name, Data: data}, time.Time{})
		if (n == nil) == (bad == nil) {
			t.Fatalf("%v, %v", n, bad)
		}
		if bad != nil {
			return
		}
		if c := n.Candidate(); c.FreeMbps > directory.FastestMbps || c.Node != name {
			t.Errorf("candidate %+v", c)
		}
		if r := n.Record; max(r.FreeTraffic, r.CapacityMbps, r.RxMbps, r.TxMbps) > directory.FastestMbps || r.Allocations < 0 || r.Allocations > 1<<20 {
			t.Errorf("record %+v", r)
		}
		if every := interval(&n.Record); every < time.Second || every > time.Hour {
			t.Errorf("interval %v", every)
		}
		for _, text := range append([]string{n.Name, n.Record.Region, n.Record.Zone, n.State(), n.Record.Version, n.Record.RESTAddr}, n.Record.URIs...) {
			if strings.ContainsAny(text, "\x00\x1b\n\r") {
				t.Errorf("%q", text)
			}
		}
		if strings.ContainsAny(n.Record.RESTAddr, "/@?#% ") {
			t.Errorf("restAddr %q", n.Record.RESTAddr)
		}
	})
}
