package registry_test

import (
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestPacketLoss cuts a host off from ZooKeeper, for half a session timeout and for two.
func TestPacketLoss(t *testing.T) {
	t.Parallel()
	const timeout, tick = patient, 500 * time.Millisecond
	r := realtest.NewRouter(t)
	z := realtest.StartZooKeeperAt(t, r.Ours, realtest.FreePort(t, r.Ours))
	c := hostConfig{Server: z.Addr(), Path: "/servers", RESTAddr: "10.0.0.1:1", Timeout: timeout}
	startProcess(t, z, c, r.Command()...)
	o := look(t, z, "/servers/turn-1")

	end := o.follow()
	r.Forward(false)
	<-time.After(timeout / 2)
	r.Forward(true)
	o.written(2)
	if s := end(); s.absent > 0 || len(s.owners) != 1 {
		t.Errorf("cut for half a timeout: absent %d times, owners %x, want neither a gap nor a new session", s.absent, s.owners)
	}

	r.Forward(false)
	cut, pace := time.Now(), realtest.NewPace()
	o.gone(soon)
	pace.Within(t, timeout+tick+time.Second, "gone")
	<-time.After(time.Until(cut.Add(2 * timeout)))
	r.Forward(true)
	pace = realtest.NewPace()
	o.until("is back", func(directory.Record, *zk.Stat) bool { return true })
	pace.Within(t, 3*time.Second, "back")
	if nodes, _, err := o.c.Children("/servers"); err != nil || len(nodes) != 1 {
		t.Errorf("nodes %q (%v), want exactly one", nodes, err)
	}
}
