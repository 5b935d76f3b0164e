package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// A fault is one row of docs/faults.md: something is done to a host that serves, and
// what follows is timed from outside.
type fault struct {
	name    string
	clients string        // what clients see of it
	bound   time.Duration // until it is unlisted; 0 = it is not
	within  time.Duration // until clients are served again
	// cause makes the fault, and returns what mends what turnwarden cannot; nil where
	// it does all by itself.
	cause func(t *testing.T, h *host) (mend func())
	// unharmed says that the child has done nothing wrong and must not be restarted.
	unharmed bool
	// held is a test that holds the same promise: only make faults causes the fault here, too.
	held func(t *testing.T)
}

// times are those of one run of a fault.
type times struct{ noticed, served, listed time.Duration }

// The settings of the table's hosts, from which its bounds follow.
const (
	tableInterval    = time.Second
	tableTimeout     = 500 * time.Millisecond
	tableFailAfter   = 3
	tableStopTimeout = 500 * time.Millisecond
	hangBound        = tableFailAfter*tableInterval + tableTimeout + time.Second
	probeBound       = tableInterval + tableTimeout + time.Second // what one probe sees
	atOnce           = 250 * time.Millisecond
	recoveryBound    = 500 * time.Millisecond
)

var faults = []fault{
	{
		name: "child killed (SIGKILL)", bound: atOnce, within: recoveryBound, held: TestChildKilled,
		clients: "running calls end; nobody answers new ones until it is served again",
		cause:   func(t *testing.T, h *host) func() { return signalChild(t, h, syscall.SIGKILL) },
	},
	{
		name: "child crashes (SIGSEGV)", bound: atOnce, within: recoveryBound,
		clients: "the same",
		cause:   func(t *testing.T, h *host) func() { return signalChild(t, h, syscall.SIGSEGV) },
	},
	{
		name: "child hangs (SIGSTOP)", bound: hangBound, within: tableStopTimeout + recoveryBound, held: TestHangIsUnlisted,
		clients: "no answer, on calls either, until it is restarted: stop_timeout (0.5 s here) is part of it",
		cause:   func(t *testing.T, h *host) func() { return signalChild(t, h, syscall.SIGSTOP) },
	},
	{
		name: "its user is gone from the userdb", within: probeBound, unharmed: true,
		clients: "401 to new calls; running ones go on. The user is written again after the first failed probe, no restart",
		cause: func(t *testing.T, h *host) func() {
			out, err := exec.Command("sqlite3", filepath.Join(h.dir, "turndb"), "PRAGMA busy_timeout=5000; DELETE FROM turnusers_lt").CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			return nil
		},
	},
	{
		name: "another turnserver on its port", bound: probeBound, within: probeBound, unharmed: true,
		clients: "a part of new calls meets the stranger and is refused, until somebody ends it; the child is left alone",
		cause: func(t *testing.T, h *host) func() {
			twin := realtest.StartTurnServer(t, realtest.TurnOptions{Addr: h.addr()})
			return func() { twin.Kill(t) }
		},
	},
	{
		name: "nobody reads the child's output: turnwarden is stopped until the child stands still", within: probeBound, unharmed: true,
		clients: "no answer once 64 KiB of log are waiting, and again from the moment they are read; not held against the child",
		cause: func(t *testing.T, h *host) func() {
			h.signal(t, syscall.SIGSTOP)
			fill(t, h)
			h.signal(t, syscall.SIGCONT)
			return nil
		},
	},
}

func signalChild(t *testing.T, h *host, s syscall.Signal) func() {
	if err := syscall.Kill(h.child(t), s); err != nil {
		t.Fatal(err)
	}
	return nil
}

// fill makes the child write to nobody until it stands still.
func fill(t *testing.T, h *host) {
	t.Helper()
	realtest.Eventually(t, 20*time.Second, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if _, err := probe.Allocate(ctx, h.addr(), strings.Repeat("x", 400), "nobody"); !errors.Is(err, probe.ErrNoAnswer) {
			return fmt.Errorf("it answers on with nobody reading: %w", err)
		}
		return nil
	})
}

// TestFaultTable causes each fault, holds what follows against its bounds, and prints
// the table. TURNWARDEN_FAULTS is how often each is caused (once, where no other test does).
//
// Beside the other tests a bound may be missed by the machine instead of by turnwarden, so
// there it is four times as long and at least ten seconds; make faults has the machine for
// itself.
func TestFaultTable(t *testing.T) {
	runs, alone := 1, false
	if s := os.Getenv("TURNWARDEN_FAULTS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		runs, alone = n, true
	} else {
		t.Parallel()
	}
	var table strings.Builder
	table.WriteString("| fault | what clients see | noticed (bound) | served again after | offered again after |\n|---|---|---|---|---|\n")
	for _, f := range faults {
		if f.held != nil && !alone {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			h := tableHost(t, tableOptions())
			h.serve(t)
			var all []times
			for range runs {
				all = append(all, f.run(t, h, alone))
			}
			row(&table, f.name, f.clients, f.bound, all)
		})
	}
	for _, f := range otherFaults {
		if f.held != nil && !alone {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			var all []times
			for i := range runs {
				if i > 0 && f.once {
					break
				}
				t.Run(fmt.Sprint(i+1), func(t *testing.T) {
					x := f.run(t)
					if f.bound > 0 && x.noticed > within(f.bound, alone) {
						t.Errorf("noticed after %v, not within %v", x.noticed, within(f.bound, alone))
					}
					if f.within > 0 && x.served > within(f.within, alone) {
						t.Errorf("served after %v, not within %v", x.served, within(f.within, alone))
					}
					all = append(all, x)
				})
			}
			if t.Failed() {
				return
			}
			row(&table, f.name, f.clients, f.bound, all)
		})
	}
	t.Logf("%d run(s) each\n%s", runs, table.String())
	if alone && !t.Failed() {
		report(t, table.String())
	}
}

// within is what a bound is on a machine that may have others to serve.
func within(bound time.Duration, alone bool) time.Duration {
	if alone {
		return bound
	}
	return max(4*bound, 10*time.Second)
}

// report puts the table where docs/faults.md has the one before.
func report(t *testing.T, table string) {
	t.Helper()
	const path, begin, end = "../../../docs/faults.md", "<!-- table -->\n", "<!-- end of table -->\n"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(data), begin)
	_, tail, ok := strings.Cut(rest, end)
	if !ok {
		t.Fatalf("%s: no place for the table", path)
	}
	if err := os.WriteFile(path, []byte(head+begin+table+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

func row(table *strings.Builder, name, clients string, bound time.Duration, all []times) {
	noticed := spread(all, func(x times) time.Duration { return x.noticed })
	if bound > 0 {
		noticed += fmt.Sprintf(" (%v)", bound)
	}
	fmt.Fprintf(table, "| %s | %s | %s | %s | %s |\n", name, clients, noticed,
		spread(all, func(x times) time.Duration { return x.served }), spread(all, func(x times) time.Duration { return x.listed }))
}

func tableOptions() options {
	return options{set: map[string]string{
		"probe.interval": tableInterval.String(), "probe.timeout": tableTimeout.String(), "probe.fail_after": fmt.Sprint(tableFailAfter),
		"coturn.stop_timeout": tableStopTimeout.String(),
	}}
}

// run causes the fault once on a host that serves.
func (f fault) run(t *testing.T, h *host, alone bool) times {
	s := mustFetch(t, h.rest())
	h.becomes(t, "turnwarden_probe_consecutive_failures 0")
	// A child that has run for stable_after (1 s) is started again at once.
	settled(t, h, 1500*time.Millisecond)
	child, restarts := h.child(t), h.metric(t, signalRestarts)
	began := time.Now()
	mend := f.cause(t, h)
	var x times
	if f.bound > 0 {
		x.noticed = h.unready(t, began, within(f.bound, alone), func() bool { return !alone && h.metric(t, signalRestarts) != restarts })
	}
	if mend != nil {
		mend()
	}
	began = time.Now()
	realtest.Eventually(t, within(f.within, alone), func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := probe.Allocate(ctx, h.addr(), s.UserID, s.Password)
		return err
	})
	x.served = time.Since(began)
	h.waitReady(t)
	if x.listed = time.Since(began); x.listed > within(f.within+probeBound, alone) {
		t.Errorf("offered again after %v", x.listed)
	}
	if now := h.child(t); (now == child) != f.unharmed { // child fails the test if there are two
		t.Errorf("the child is %d and was %d", now, child)
	}
	return x
}

const signalRestarts = `turnwarden_turnserver_restarts_total{reason="signal"}`

// unready waits until the node is not, or has been and is no more, and says how long after
// a moment that was.
func (h *host) unready(t *testing.T, since time.Time, limit time.Duration, over func() bool) time.Duration {
	t.Helper()
	realtest.Eventually(t, limit, func() error {
		code, _, err := h.get("/-/ready")
		if err == nil && code == http.StatusOK && !over() {
			err = errors.New("still ready")
		}
		return err
	})
	return time.Since(since)
}

// tableHost is a host that has the test fail if at any moment two turnservers of its run.
func tableHost(t *testing.T, o options) *host {
	t.Helper()
	h := newHost(t, o)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		look := time.NewTicker(50 * time.Millisecond)
		defer look.Stop()
		for {
			select {
			case <-stop:
				return
			case <-look.C:
			}
			if pids := turnservers(t, filepath.Join(h.dir, "state", "turnserver.conf")); len(pids) > 1 {
				t.Errorf("turnservers at once: %v", pids)
				return
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-stopped
	})
	return h
}

// settled waits until the child has run for so long.
func settled(t *testing.T, h *host, d time.Duration) {
	t.Helper()
	process := fmt.Sprintf("/proc/%d", h.child(t))
	realtest.Eventually(t, d+10*time.Second, func() error {
		info, err := os.Stat(process)
		if err == nil && time.Since(info.ModTime()) < d {
			err = errors.New("the child is younger")
		}
		return err
	})
}

// spread is the median and the greatest of one of the times.
func spread(all []times, of func(times) time.Duration) string {
	var values []time.Duration
	for _, x := range all {
		values = append(values, of(x))
	}
	slices.Sort(values)
	if values[len(values)-1] == 0 {
		return "–"
	}
	if len(values) == 1 {
		return values[0].Round(time.Millisecond).String()
	}
	return fmt.Sprintf("%v, at most %v", values[len(values)/2].Round(time.Millisecond), values[len(values)-1].Round(time.Millisecond))
}

// TestLoadedMachine: a child that serves is not restarted, however starved the machine is.
// TURNWARDEN_LOADED is for how long (5s). No other test here runs meanwhile: it would be
// starved, too.
func TestLoadedMachine(t *testing.T) {
	d := 5 * time.Second
	if s := os.Getenv("TURNWARDEN_LOADED"); s != "" {
		var err error
		if d, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	h := newHost(t, tableOptions())
	h.serve(t)
	child := h.child(t)
	ctx, stop := context.WithTimeout(t.Context(), d)
	defer stop()
	for range 2 * runtime.NumCPU() { // processes, for goroutines would share this one's few threads
		realtest.Spawn(t, exec.CommandContext(ctx, "sh", "-c", "while :; do :; done"), os.DevNull)
	}
	<-ctx.Done()
	h.waitReady(t)
	if now := h.child(t); now != child {
		t.Errorf("the child is %d and was %d", now, child)
	}
	if n := h.metric(t, `turnwarden_turnserver_restarts_total{reason="probe"}`); n != "0" {
		t.Errorf("%s restarts", n)
	}
	t.Logf("%v with %d spinning processes on %d cores: no restart", d, 2*runtime.NumCPU(), runtime.NumCPU())
}
