package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// stated waits until the one record says so, and returns it.
func stated(t *testing.T, c *zk.Conn, want string) (r directory.Record) {
	t.Helper()
	realtest.Eventually(t, 20*time.Second, func() error {
		all, err := records(c, "/turn/servers")
		if err != nil {
			return err
		}
		for _, r = range all {
			if r.State == want && len(all) == 1 {
				return nil
			}
		}
		return fmt.Errorf("records %+v, want one in state %s", all, want)
	})
	return r
}

// TestMaintenance: everything runs and nobody is sent here, until it is turned off;
// a restart in between changes nothing.
func TestMaintenance(t *testing.T) {
	t.Parallel()
	h, _, c := registered(t, options{})
	before := mustFetch(t, h.rest())
	child := h.child(t)
	if out, code := h.ask(t, "maintenance", "on"); code != 0 || !strings.Contains(out, "record ") {
		t.Fatalf("%d %s", code, out)
	}
	// The command returns when ZooKeeper has it.
	all, err := records(c, "/turn/servers")
	if r := all[hostName(t)]; err != nil || r.State != "maintenance" || r.FreeTraffic != 0 {
		t.Errorf("record %+v, %v", r, err)
	}
	unready := func() {
		t.Helper()
		if code, body, err := h.get("/-/ready"); err != nil || code != 503 || !strings.Contains(body, "maintenance: since") {
			t.Errorf("ready: %d %s %v", code, body, err)
		}
		if got := h.metric(t, `turnwarden_state{state="maintenance"}`); got != "1" {
			t.Errorf("state maintenance %s", got)
		}
	}
	unready()
	if after, err := fetch(h.rest()); err != nil || after != before {
		t.Errorf("credential %+v, %v; want %+v", after, err, before)
	}
	if h.child(t) != child {
		t.Error("the child was touched")
	}
	dialCall(t, h.addr().String(), before) // who holds a credential is served

	// systemd asks whether the start is over, not whether calls are wanted.
	ready := make(chan struct{})
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: h.dir + "/notify", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	go func() {
		defer close(ready)
		b := make([]byte, 4096)
		for {
			n, err := socket.Read(b)
			if err != nil || strings.Contains(string(b[:n]), "READY=1") {
				return
			}
		}
	}()
	h.end(t)
	h.env = append(h.env, "NOTIFY_SOCKET="+h.dir+"/notify")
	h.start(t)
	stated(t, c, "maintenance")
	unready()
	select {
	case <-ready:
	case <-time.After(20 * time.Second):
		t.Error("no READY=1")
	}
	if out, code := h.ask(t, "maintenance", "off"); code != 0 {
		t.Fatalf("%d %s", code, out)
	}
	listed(t, c, 10*time.Second)
	h.waitReady(t)
}
