package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// A startFault is a row whose fault is there when turnwarden or its child starts.
type startFault struct {
	name    string
	clients string
	most    int // how often it is worth to be caused
	run     func(t *testing.T) times
}

var startFaults = []startFault{
	{
		name: "crash loop: five starts end at once, the sixth serves", most: 3,
		clients: "nobody answers; the pause between the starts doubles from restart_delay (0.1 s here) to restart_delay_max (1 s)",
		run: func(t *testing.T) times {
			o := tableOptions()
			o.set["coturn.turnserver"] = fragile(t, 5)
			return offered(t, newHost(t, o))
		},
	},
	{
		name: "an orphan of a killed turnwarden runs", most: 10,
		clients: "its calls end: it is killed before another is started",
		run: func(t *testing.T) times {
			h := newHost(t, tableOptions())
			h.serve(t)
			h.end(t)
			rendered := filepath.Join(h.dir, "state", "turnserver.conf")
			orphan := exec.Command("turnserver", "-c", rendered)
			exited := realtest.Spawn(t, orphan, filepath.Join(h.dir, "orphan.log"))
			realtest.Eventually(t, 10*time.Second, func() error { return probe.Binding(t.Context(), h.addr()) })
			x := offered(t, h)
			select {
			case <-exited:
			default:
				t.Error("the orphan runs on")
			}
			if pid := h.child(t); pid == orphan.Process.Pid {
				t.Error("the orphan was taken for a child")
			}
			return x
		},
	},
	{
		name: "another turnserver has the port at the start", most: 10,
		clients: "the other one; turnwarden ends with exit code 2 and says whose port it is",
		run: func(t *testing.T) times {
			h := newHost(t, tableOptions())
			twin := realtest.StartTurnServer(t, realtest.TurnOptions{Addr: h.addr()})
			defer twin.Kill(t)
			began := time.Now()
			h.start(t)
			if code := h.wait(t, 10*time.Second); code != 2 || !strings.Contains(h.tail(), fmt.Sprintf("pid %d", twin.PID())) {
				t.Errorf("exit code %d:\n%s", code, h.tail())
			}
			return times{noticed: time.Since(began)}
		},
	},
	{
		name: "the child misses its configuration and is an open relay", most: 10,
		clients: "nothing is handed out; who knows the address could relay for the time in the next column, then the child is dead and stays so",
		run: func(t *testing.T) times {
			o := tableOptions()
			o.set["coturn.turnserver"] = careless(t, "/^lt-cred-mech/d")
			h := newHost(t, o)
			h.start(t)
			neverOffered(t, h, "open_relay", 2*time.Second)
			return times{noticed: logged(t, h, `msg="turnserver ended as asked"`).Sub(logged(t, h, `msg="turnserver started"`))}
		},
	},
	{
		name: "the child has another userdb", most: 3,
		clients: "401 to everybody: nothing is handed out or offered, and the reason says so",
		run: func(t *testing.T) times {
			o := tableOptions()
			o.set["coturn.turnserver"] = careless(t, "s|^userdb=.*|userdb="+filepath.Join(t.TempDir(), "other")+"|")
			h := newHost(t, o)
			h.start(t)
			neverOffered(t, h, "credential: none that is verified", 5*time.Second)
			return times{}
		},
	},
	{
		name: "the child cannot bind its address", most: 1,
		clients: "no answer: nothing is handed out or offered. coturn gives up by itself after 60 s, and is started again",
		run: func(t *testing.T) times {
			o := tableOptions()
			o.set["coturn.turnserver"] = careless(t, "s/^listening-ip=.*/listening-ip=198.51.100.7/")
			h := newHost(t, o)
			h.start(t)
			limit := 3 * time.Second
			if os.Getenv("TURNWARDEN_FAULTS") != "" {
				limit = 62 * time.Second
			}
			neverOffered(t, h, "the TURN server has not answered yet", limit)
			return times{}
		},
	},
}

// logged is when turnwarden wrote the first line with these words.
func logged(t *testing.T, h *host, words string) time.Time {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(h.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if stamp, ok := strings.CutPrefix(line, "time="); ok && strings.Contains(line, words) {
			stamp, _, _ = strings.Cut(stamp, " ")
			at, err := time.Parse(time.RFC3339Nano, stamp)
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
	}
	t.Fatalf("no line with %s", words)
	return time.Time{}
}

// offered starts turnwarden and times its way to readiness.
func offered(t *testing.T, h *host) times {
	t.Helper()
	began := time.Now()
	h.serve(t)
	return times{served: time.Since(began), listed: time.Since(began)}
}

// neverOffered watches a host for so long: it names the reason, is not ready and hands
// nothing out.
func neverOffered(t *testing.T, h *host, reason string, d time.Duration) {
	t.Helper()
	realtest.Eventually(t, 10*time.Second, func() error {
		_, body, err := h.get("/-/ready")
		if err == nil && !strings.Contains(body, reason) {
			err = fmt.Errorf("ready says %q", body)
		}
		return err
	})
	began := time.Now()
	realtest.Eventually(t, d+10*time.Second, func() error {
		if code, body, err := h.get("/-/ready"); err == nil && code == http.StatusOK {
			t.Fatalf("ready: %s", body)
		}
		if s, err := fetch(h.rest()); err == nil {
			t.Fatalf("handed out %s", s.UserID)
		}
		if time.Since(began) < d {
			return errors.New("watching")
		}
		return nil
	})
}

// fragile is a turnserver that ends at once for the first so many times.
func fragile(t *testing.T, times int) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "turnserver")
	script := fmt.Sprintf(`#!/bin/sh
case "$*" in *--version*) exec turnserver --version;; esac
echo >> %[1]s/starts
[ "$(wc -l < %[1]s/starts)" -gt %[2]d ] || exit 1
exec turnserver "$@"
`, dir, times)
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}
