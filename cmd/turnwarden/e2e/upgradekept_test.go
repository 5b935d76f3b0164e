package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// upgrade asks for an upgrade that has to succeed, once no other is under way.
func (h *host) upgrade(t *testing.T) {
	t.Helper()
	realtest.Eventually(t, 20*time.Second, func() error {
		out, code := h.ask(t, "upgrade")
		if strings.Contains(out, underWay) {
			return errors.New(out)
		}
		if code != 0 || !strings.Contains(out, "goes on") {
			t.Fatalf("upgrade: exit code %d\n%s", code, out)
		}
		return nil
	})
}

const underWay = "another upgrade is under way"

// TestUpgradesInARow asks for upgrades by command and by signal, with no pause: each is
// done or told that it is not, and what was handed out and counted before is the same after.
func TestUpgradesInARow(t *testing.T) {
	t.Parallel()
	h := installed(t, options{})
	h.serve(t)
	calls, child := h.open(t, 3), h.child(t)
	before := mustFetch(t, h.rest())
	counted := func() {
		t.Helper()
		for series, want := range map[string]string{
			"turnwarden_allocations": "3", "turnwarden_allocations_created_total": "3", `turnwarden_turnserver_restarts_total{reason="signal"}`: "0",
		} {
			h.metricIs(t, series, want, 20*time.Second)
		}
	}
	counted()
	h.upgrade(t)
	files := handles(t, h.cmd.Process.Pid)
	for range 3 {
		var all []*asked
		for range 3 {
			all = append(all, h.begin(t, "upgrade"))
			h.signal(t, syscall.SIGUSR2)
			h.signal(t, syscall.SIGHUP) // ends no image on its way
		}
		for _, a := range all {
			out, code := a.ends(t, 30*time.Second)
			if refused := strings.Contains(out, underWay); code == 0 == refused {
				t.Errorf("exit code %d\n%s", code, out)
			}
		}
		h.waitReady(t)
	}
	h.signal(t, syscall.SIGUSR2)
	realtest.Eventually(t, 20*time.Second, func() error {
		if !strings.Contains(h.log(t), `msg="upgraded in place" part=upgrade by=SIGUSR2 result=ok`) {
			return errors.New("no upgrade by SIGUSR2 in the log")
		}
		return nil
	})
	h.upgrade(t)
	if now := h.child(t); now != child {
		t.Errorf("turnserver %d, and before %d", now, child)
	}
	if after, err := fetch(h.rest()); err != nil || after != before {
		t.Errorf("credential %+v, %v; want %+v", after, err, before)
	}
	alive(t, calls)
	counted()
	// What is under way has files of its own for a moment.
	realtest.Eventually(t, 20*time.Second, func() error {
		if n := handles(t, h.cmd.Process.Pid); n > files {
			return fmt.Errorf("%d files are open, and %d were after the first upgrade", n, files)
		}
		return nil
	})
	realtest.Eventually(t, 20*time.Second, func() error {
		if got := childrenOf(t, h.cmd.Process.Pid); !slices.Equal(got, []string{"S sqlite3", "S turnserver"}) {
			return fmt.Errorf("children: %q", got)
		}
		return nil
	})
	hangUp(t, calls)
	h.metricIs(t, "turnwarden_allocations", "0", 20*time.Second)
	h.signal(t, syscall.SIGTERM)
	if code := h.wait(t, 20*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	gone(t, child, 0)
	if _, err := os.Stat(h.socket()); !os.IsNotExist(err) {
		t.Errorf("the admin socket is left behind: %v", err)
	}
}

// childrenOf are the processes that pid is to bury: state and name.
func childrenOf(t *testing.T, pid int) (children []string) {
	t.Helper()
	all, err := procfs.AllProcs()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if s, err := p.Stat(); err == nil && s.PPID == pid {
			children = append(children, s.State+" "+s.Comm)
		}
	}
	slices.Sort(children)
	return children
}

func handles(t *testing.T, pid int) int {
	t.Helper()
	p, err := procfs.NewProc(pid)
	if err != nil {
		t.Fatal(err)
	}
	n, err := p.FileDescriptorsLen()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestUpgradeWhileDraining: the drain goes on under the new version with the deadline that it
// had, whoever follows it is told so, and its end is what was asked for.
func TestUpgradeWhileDraining(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	// The turn lasts as long as the session, to which nobody writes during an upgrade.
	h := installed(t, options{zookeeper: []string{z.Addr()}, set: map[string]string{"registry.session_timeout": "12s"}})
	h.serve(t)
	listed(t, z.Client(t), 10*time.Second)
	calls, child := h.open(t, 2), h.child(t)
	drain := h.begin(t, "restart", "--deadline=10m")
	drain.said(t, "cannot refuse new calls")
	deadline := func() string { return h.metric(t, "turnwarden_drain_deadline_timestamp_seconds") }
	before := deadline()
	places := func() string {
		names, _, err := z.Client(t).Children("/turn/servers-draining")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(names, " ")
	}
	turn := places()
	for range 2 {
		h.upgrade(t)
	}
	if out, code := drain.ends(t, 10*time.Second); code != 1 || !strings.Contains(out, "turnwarden is being upgraded; the drain goes on") {
		t.Errorf("whoever followed the drain: exit code %d\n%s", code, out)
	}
	if after := deadline(); after != before || before == "0" {
		t.Errorf("deadline %s, and before %s", after, before)
	}
	if now := places(); now != turn || turn == "" {
		t.Errorf("the turn to drain: %q, and before %q", now, turn)
	}
	stated(t, z.Client(t), "draining")
	if h.child(t) != child {
		t.Fatal("the child was replaced with calls open")
	}
	alive(t, calls)
	// Asked again, it is followed.
	again := h.begin(t, "restart", "--deadline=1h")
	again.said(t, "a drain is under way")
	if after := deadline(); after != before {
		t.Errorf("deadline %s, and before %s", after, before)
	}
	hangUp(t, calls)
	if out, code := again.ends(t, 30*time.Second); code != 0 || !strings.Contains(out, "all have ended") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if now := h.child(t); now == child || now == 0 {
		t.Errorf("turnserver %d, and before %d", now, child)
	}
	listed(t, z.Client(t), 20*time.Second)
	if left := places(); left != "" {
		t.Errorf("the turn to drain is kept: %s", left)
	}
}

// TestUpgradeAtDeadline: a deadline that was set before an upgrade cuts what is left then.
func TestUpgradeAtDeadline(t *testing.T) {
	t.Parallel()
	h := installed(t, options{})
	h.serve(t)
	h.open(t, 2)
	began := time.Now()
	drain := h.begin(t, "drain", "--no-lock", "--deadline=20s")
	drain.said(t, "cannot refuse new calls")
	h.upgrade(t)
	again := h.begin(t, "drain", "--no-lock", "--deadline=10m")
	out, code := again.ends(t, 60*time.Second)
	if took := time.Since(began); took < 20*time.Second {
		t.Errorf("over after %v", took)
	}
	if code != codeCut || !hasCut(out, 2) {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if code := h.wait(t, 20*time.Second); code != 0 {
		t.Errorf("turnwarden ended with %d, want 0", code)
	}
}

// TestUpgradeWhileTurnadminHangs: nothing is cut in the middle. Clients are answered for as
// long as that takes.
func TestUpgradeWhileTurnadminHangs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hang, begun := filepath.Join(dir, "hang"), filepath.Join(dir, "begun")
	tool := filepath.Join(dir, "turnadmin")
	h := installed(t, options{set: map[string]string{"coturn.turnadmin": tool}})
	h.write(t, tool, fmt.Sprintf("#!/bin/sh\n[ -e %s ] && touch %s\nwhile [ -e %[1]s ]; do sleep 0.05; done\nexec turnadmin \"$@\"\n", hang, begun))
	if err := os.Chmod(tool, 0o700); err != nil {
		t.Fatal(err)
	}
	h.serve(t)
	child := h.child(t)
	before := mustFetch(t, h.rest())
	h.write(t, hang, "")
	rotate := h.begin(t, "rotate")
	realtest.Eventually(t, 20*time.Second, func() error { _, err := os.Stat(begun); return err })
	upgrade := h.begin(t, "upgrade")
	upgrade.said(t, "self-check")
	// Who waits for the rotation is sent away, and that goes on.
	out, code := rotate.ends(t, 9*time.Second)
	if code != 1 || !strings.Contains(out, "rotate: turnwarden is being upgraded; it goes on") {
		t.Errorf("whoever waits for the rotation: %d %s", code, out)
	}
	for range 5 {
		if now, err := fetch(h.rest()); err != nil || now != before {
			t.Errorf("credential %+v, %v; want %+v", now, err, before)
		}
	}
	select {
	case <-upgrade.exited:
		t.Error("the upgrade did not wait")
	default:
	}
	if err := os.Remove(hang); err != nil {
		t.Fatal(err)
	}
	if out, code := upgrade.ends(t, 30*time.Second); code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	realtest.Eventually(t, 20*time.Second, func() error {
		after, err := fetch(h.rest())
		if err == nil && after.UserID == before.UserID {
			err = fmt.Errorf("not rotated")
		}
		return err
	})
	after := mustFetch(t, h.rest())
	dialCall(t, h.addr().String(), after)
	dialCall(t, h.addr().String(), before)
	if now := h.child(t); now != child {
		t.Errorf("turnserver %d, and before %d", now, child)
	}
	if log := h.tail(); strings.Contains(log, "result=failed") {
		t.Errorf("a transition failed:\n%s", log)
	}
}
