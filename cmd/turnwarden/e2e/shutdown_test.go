package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestOrderlyStop watches a real stop from outside: record, then child, then HTTP.
func TestOrderlyStop(t *testing.T) {
	t.Parallel()
	h, _, c := registered(t, options{})
	before := mustFetch(t, h.rest())
	child := h.child(t)
	_, _, deleted, err := c.ExistsW("/turn/servers/" + hostName(t))
	if err != nil {
		t.Fatal(err)
	}
	// A child that takes no TERM leaves time to look at what goes before it.
	if err := syscall.Kill(child, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	h.signal(t, syscall.SIGTERM)
	select {
	case <-deleted:
	case <-time.After(3 * time.Second):
		t.Fatal("the record outlived SIGTERM by 3 s")
	}
	if h.child(t) != child {
		t.Error("the child ended before the record was gone")
	}
	if code, _, err := h.get("/-/ready"); err != nil || code != 503 {
		t.Errorf("the web listener answers %d, %v while the child stops; want 503", code, err)
	}
	realtest.Eventually(t, 5*time.Second, func() error {
		code, body, err := get("http://" + h.rest() + "/turncredential")
		if err == nil && code != 503 {
			err = fmt.Errorf("%d %s", code, body)
		}
		return err
	})
	// The second signal cuts the wait for the child short; the order stays.
	began := time.Now()
	h.signal(t, syscall.SIGTERM)
	if code := h.wait(t, 5*time.Second); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	t.Logf("ended %v after the second signal (stop_timeout is 15 s)", time.Since(began).Round(time.Millisecond))
	gone(t, child, 0)
	order := []string{"upgrade", "notify", "unlist", "drain", "registry", "node", "credential", "summary", "sweeper", "census", "probe", "supervisor", "log", "userdb", "sockets", "traffic", "reload", "admin", "files", "events", "api", "web"}
	if got := stops(t, h); strings.Join(got, " ") != "signals "+strings.Join(order, " ") {
		t.Errorf("parts stopped in the order %v", got)
	}

	h.serve(t)
	if after, err := fetch(h.rest()); err != nil || after != before {
		t.Errorf("after a restart: %+v, %v; want %+v", after, err, before)
	}
	h.signal(t, syscall.SIGINT)
	if code := h.wait(t, 10*time.Second); code != 0 {
		t.Errorf("exit code after SIGINT %d, want 0", code)
	}
}

// stops reads the order of shutdown from the log.
func stops(t *testing.T, h *host) (names []string) {
	t.Helper()
	for line := range strings.Lines(h.log(t)) {
		if _, name, ok := strings.Cut(strings.TrimSpace(line), "msg=stopping part="); ok {
			names = append(names, name)
		}
	}
	return names
}

func hostName(t *testing.T) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// TestDrainOnSIGTERM: with a drain_timeout the record stays, unlisted, until the
// last call has ended.
func TestDrainOnSIGTERM(t *testing.T) {
	t.Parallel()
	h, _, c := registered(t, options{set: map[string]string{"coturn.drain_timeout": "1m"}})
	s := mustFetch(t, h.rest())
	hangUp := holdAllocation(t, h.addr(), s)
	h.signal(t, syscall.SIGTERM)
	realtest.Eventually(t, 5*time.Second, func() error {
		all, err := records(c, "/turn/servers")
		if err == nil && len(all) != 1 {
			err = fmt.Errorf("%d records", len(all))
		}
		for _, r := range all {
			if r.State != "draining" || r.FreeTraffic != 0 {
				err = fmt.Errorf("record %+v", r)
			}
		}
		return err
	})
	if _, err := fetch(h.rest()); err != nil {
		t.Errorf("no credential while draining: %v", err)
	}
	hangUp()
	if code := h.wait(t, 20*time.Second); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	unlisted(t, c, time.Second)
}

// TestNotify: systemd is told READY once the node serves, with ZooKeeper away, is
// pinged, and is told STOPPING. The child inherits no NOTIFY_SOCKET.
func TestNotify(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	messages := make(chan string, 1000)
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := socket.Read(b)
			if err != nil {
				close(messages)
				return
			}
			messages <- string(b[:n])
		}
	}()
	expect := func(want string) {
		t.Helper()
		deadline := time.After(20 * time.Second)
		for {
			select {
			case m := <-messages:
				if strings.Contains(m, want) {
					return
				}
			case <-deadline:
				t.Fatalf("no %s", want)
			}
		}
	}
	h := newHost(t, options{
		zookeeper:   []string{"127.0.0.1:1"}, // nobody is there
		environment: []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=3000000"},
	})
	h.start(t)
	expect("EXTEND_TIMEOUT_USEC=")
	expect("READY=1")
	expect("WATCHDOG=1")
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", h.child(t)))
	if err != nil || strings.Contains(string(env), "NOTIFY_SOCKET") {
		t.Errorf("the child's environment: %q, %v", env, err)
	}
	h.signal(t, syscall.SIGTERM)
	expect("STOPPING=1")
	if code := h.wait(t, 20*time.Second); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}
