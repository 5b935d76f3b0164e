package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/registry"
)

// TestRegistrar holds what leaves ZooKeeper itself alone, so that one server does.
func TestRegistrar(t *testing.T) {
	z := realtest.StartZooKeeper(t)
	for name, test := range map[string]func(*testing.T, *realtest.ZooKeeper){
		"first start":               testFirstStart,
		"name without address":      testUnresolvable,
		"restart within timeout":    testRestart,
		"restart without state":     testRestartWithoutState,
		"foreign owner":             testForeignOwner,
		"twin":                      testTwin,
		"robbed at equal version":   testEqualVersion,
		"orderly stop":              testOrderlyStop,
		"collector stalls":          testStall,
		"deleted by hand":           testDeletedByHand,
		"persistent node":           testPersistentNode,
		"news":                      testNews,
		"flush":                     testFlush,
		"flush in conflict":         testFlushConflict,
		"prometheus":                testPrometheus,
		"digest":                    testDigest,
		"operations are counted":    testCounts,
		"state file not accessible": testStateFile,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, z)
		})
	}
}

func testFirstStart(t *testing.T, z *realtest.ZooKeeper) {
	cfg := newConfig(t, z, ownPath(t)+"/deep/down")
	h := startHost(t, cfg, "10.0.0.1:13478")
	o := look(t, z, cfg.Path+"/turn-1")
	o.eventually("10.0.0.1:13478")
	data, stat, err := o.c.Get(o.path)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"freeTraffic":812.4,"restAddr":"10.0.0.1:13478","v":1,`; !strings.HasPrefix(string(data), want) {
		t.Errorf("record %s, want it to begin %s", data, want)
	}
	if stat.EphemeralOwner == 0 {
		t.Error("the record is not ephemeral")
	}
	o.written(2)
	s := h.Status()
	if !s.Registered || s.Session.State != directory.Connected || s.Conflict != "" || s.LastError != "" || s.LastRecord.Seq == 0 || time.Since(s.LastPublish) > soon {
		t.Errorf("status %+v, want a registered host", s)
	}
	parent, stat, err := o.c.Get(cfg.Path)
	if err != nil || len(parent) > 0 || stat.EphemeralOwner != 0 {
		t.Errorf("parent %q of %x (%v), want an empty persistent node", parent, stat.EphemeralOwner, err)
	}
}

func testUnresolvable(t *testing.T, z *realtest.ZooKeeper) {
	alone, beside := newConfig(t, z, ownPath(t)), newConfig(t, z, ownPath(t))
	alone.Directory.Servers = []string{"no-such-host.invalid:2181"}
	beside.Directory.Servers = []string{"no-such-host.invalid:2181", z.Addr()}
	h := startHost(t, alone, "10.0.0.2:1")
	realtest.Eventually(t, soon, func() error {
		if s := h.Status(); s.Session.State != directory.Connecting || !strings.Contains(s.Session.LastError, "no-such-host") {
			return fmt.Errorf("status %+v, want one that names the host", s)
		}
		return nil
	})
	startHost(t, beside, "10.0.0.1:1")
	look(t, z, beside.Path+"/turn-1").eventually("10.0.0.1:1")
}

func testRestart(t *testing.T, z *realtest.ZooKeeper) {
	c := hostConfig{Server: z.Addr(), Path: ownPath(t), RESTAddr: "10.0.0.1:1", Timeout: patient, StateFile: filepath.Join(t.TempDir(), "sessions")}
	kill := startProcess(t, z, c)
	o := look(t, z, c.Path+"/turn-1")
	end := o.follow()
	kill()
	// Another address: only the state file tells that the leftover is ours.
	startHost(t, c.config(), "10.0.0.1:2")
	o.eventually("10.0.0.1:2")
	<-time.After(patient + patient/2) // The first session expires meanwhile.
	o.written(1)
	if s := end(); s.absent > 0 || len(s.owners) != 2 {
		t.Errorf("absent %d times, owners %x, want never absent and two owners", s.absent, s.owners)
	}
}

func testRestartWithoutState(t *testing.T, z *realtest.ZooKeeper) {
	c := hostConfig{Server: z.Addr(), Path: ownPath(t), RESTAddr: "10.0.0.1:1", Timeout: patient}
	kill := startProcess(t, z, c)
	o := look(t, z, c.Path+"/turn-1")
	end := o.follow()
	kill()
	startHost(t, c.config(), "10.0.0.1:1")
	<-time.After(patient + patient/2)
	o.written(1)
	if s := end(); s.absent > 0 || len(s.owners) != 2 {
		t.Errorf("absent %d times, owners %x, want never absent and two owners", s.absent, s.owners)
	}
}

func testForeignOwner(t *testing.T, z *realtest.ZooKeeper) {
	c := hostConfig{Server: z.Addr(), Path: ownPath(t), RESTAddr: "10.0.0.1:1", Timeout: patient}
	kill := startProcess(t, z, c)
	o := look(t, z, c.Path+"/turn-1")
	end := o.follow()
	h := startHost(t, newConfig(t, z, c.Path), "10.0.0.2:1")
	eventuallyConflict(t, h, "10.0.0.1:1")
	o.written(5)
	if s := end(); len(s.owners) != 1 || s.addrs["10.0.0.2:1"] {
		t.Errorf("owners %x, addresses %v, want the first host alone", s.owners, s.addrs)
	}
	if s := h.Status(); s.Registered || s.Conflict == "" {
		t.Errorf("status %+v, want a conflict", s)
	}
	if n := strings.Count(h.logs.String(), "level=ERROR"); n != 1 {
		t.Errorf("the conflict was logged %d times, want once", n)
	}
	kill()
	o.eventually("10.0.0.2:1")
	realtest.Eventually(t, soon, func() error {
		if s := h.Status(); !s.Registered || s.Conflict != "" {
			return fmt.Errorf("status %+v, want a registered host", s)
		}
		return nil
	})
}

// eventuallyConflict waits until the host knows that its name is taken.
func eventuallyConflict(t *testing.T, h *host, by string) {
	t.Helper()
	realtest.Eventually(t, soon, func() error {
		if s := h.Status(); !strings.Contains(s.Conflict, by) {
			return fmt.Errorf("status %+v, want a conflict with %s", s, by)
		}
		return nil
	})
}

func testTwin(t *testing.T, z *realtest.ZooKeeper) {
	path := ownPath(t)
	o := look(t, z, path+"/turn-1")
	older := startHost(t, newConfig(t, z, path), "10.0.0.1:1")
	o.eventually("10.0.0.1:1")
	end := o.follow()
	startHost(t, newConfig(t, z, path), "10.0.0.1:1")
	eventuallyConflict(t, older, "10.0.0.1:1")
	<-time.After(patient)
	if s := end(); len(s.owners) != 2 || s.absent > 0 {
		t.Errorf("owners %x, absent %d times, want exactly one theft", s.owners, s.absent)
	}
}

// testEqualVersion has a rival whose node happens to be at the version of ours, so
// that our next write goes through. Only the answer tells.
func testEqualVersion(t *testing.T, z *realtest.ZooKeeper) {
	cfg := newConfig(t, z, ownPath(t))
	cfg.Interval = time.Hour
	h := startHost(t, cfg, "10.0.0.1:1")
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := look(t, z, cfg.Path+"/turn-1")
	_, stat, err := o.record()
	if err != nil {
		t.Fatal(err)
	}
	ops := []any{
		&zk.DeleteRequest{Path: o.path, Version: -1},
		&zk.CreateRequest{Path: o.path, Acl: zk.WorldACL(zk.PermAll), Flags: zk.FlagEphemeral},
	}
	for range stat.Version {
		ops = append(ops, &zk.SetDataRequest{Path: o.path, Data: []byte("a rival's"), Version: -1})
	}
	if _, err := o.c.Multi(ops...); err != nil {
		t.Fatal(err)
	}
	if err := h.Flush(t.Context()); !errors.Is(err, directory.ErrConflict) || h.Status().Registered {
		t.Errorf("Flush returned %v, registered %v; want a conflict", err, h.Status().Registered)
	}
}

func testOrderlyStop(t *testing.T, z *realtest.ZooKeeper) {
	cfg := newConfig(t, z, ownPath(t))
	cfg.Directory.SessionTimeout = 2 * soon // so that nothing but the stop removes the node
	h := startHost(t, cfg, "10.0.0.1:1")
	o := look(t, z, cfg.Path+"/turn-1")
	o.eventually("10.0.0.1:1")
	pace := realtest.NewPace()
	h.stop()
	o.gone(soon)
	pace.Within(t, time.Second, "gone")
	if h.Status().Registered {
		t.Error("registered after the stop")
	}
	if err := h.Flush(t.Context()); err == nil {
		t.Error("Flush after the end of Run succeeded")
	}
}

func testStall(t *testing.T, z *realtest.ZooKeeper) {
	cfg := newConfig(t, z, ownPath(t))
	cfg.PrometheusPath, cfg.Prometheus = cfg.Path+"-prometheus", []byte(`{}`)
	h := startHost(t, cfg, "10.0.0.1:1")
	o := look(t, z, cfg.Path+"/turn-1")
	o.eventually("10.0.0.1:1")
	h.say(func(p *registry.Publication) { p.Present = false })
	o.gone(soon)
	look(t, z, cfg.PrometheusPath+"/turn-1").gone(soon)
	realtest.Eventually(t, soon, func() error {
		if h.Status().Registered {
			return errors.New("still registered")
		}
		return nil
	})
	h.say(func(p *registry.Publication) { p.Present = true })
	h.Kick()
	o.eventually("10.0.0.1:1")
}

func testDeletedByHand(t *testing.T, z *realtest.ZooKeeper) {
	cfg := newConfig(t, z, ownPath(t))
	cfg.PrometheusPath, cfg.Prometheus = cfg.Path+"-prometheus", []byte(`{}`)
	startHost(t, cfg, "10.0.0.1:1")
	o := look(t, z, cfg.Path+"/turn-1")
	o.eventually("10.0.0.1:1")
	for _, path := range []string{o.path, cfg.PrometheusPath + "/turn-1"} {
		realtest.Eventually(t, soon, func() error { return o.c.Delete(path, -1) })
		realtest.Eventually(t, 5*interval+soon/4, func() error {
			if found, _, err := o.c.Exists(path); err != nil || !found {
				return fmt.Errorf("%s is not back (%v)", path, err)
			}
			return nil
		})
	}
}

func testPersistentNode(t *testing.T, z *realtest.ZooKeeper) {
	path := ownPath(t)
	o := look(t, z, path+"/turn-1")
	for i := range path + "/turn-1" {
		if p := (path + "/turn-1")[:i]; i > 0 && o.path[i] == '/' {
			if _, err := o.c.Create(p, nil, 0, zk.WorldACL(zk.PermAll)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := o.c.Create(o.path, []byte("an operator's"), 0, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	h := startHost(t, newConfig(t, z, path), "10.0.0.1:1")
	eventuallyConflict(t, h, "persistent node")
	sets := h.counts.get("operations operation=create")
	realtest.Eventually(t, soon, func() error {
		if n := h.counts.get("operations operation=create"); n < sets+3 {
			return fmt.Errorf("%v attempts so far", n)
		}
		return nil
	})
	if data, stat, err := o.c.Get(o.path); err != nil || string(data) != "an operator's" || stat.Version != 0 {
		t.Errorf("the persistent node holds %q, version %d (%v), want it untouched", data, stat.Version, err)
	}
	if err := o.c.Delete(o.path, 0); err != nil {
		t.Fatal(err)
	}
	o.eventually("10.0.0.1:1")
}

func testNews(t *testing.T, z *realtest.ZooKeeper) {
	for name, test := range map[string]struct {
		change func(*registry.Publication)
		at     bool // once
	}{
		"nothing":        {func(*registry.Publication) {}, false},
		"a little":       {func(p *registry.Publication) { p.Record.FreeTraffic -= 100 }, false},
		"a lot less":     {func(p *registry.Publication) { p.Record.FreeTraffic -= 101 }, true},
		"a lot more":     {func(p *registry.Publication) { p.Record.FreeTraffic += 101 }, true},
		"full":           {func(p *registry.Publication) { p.Record.FreeTraffic, p.Record.CapacityMbps = 0, 1e6 }, true},
		"state":          {func(p *registry.Publication) { p.Record.State = "draining" }, true},
		"new credential": {func(p *registry.Publication) { p.Record.Generation++ }, true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := newConfig(t, z, ownPath(t))
			cfg.Interval = time.Hour
			h := startHost(t, cfg, "10.0.0.1:1")
			o := look(t, z, cfg.Path+"/turn-1")
			o.eventually("10.0.0.1:1")
			first, _, err := o.record()
			if err != nil {
				t.Fatal(err)
			}
			asked := h.askedTimes()
			h.say(test.change)
			h.Kick()
			if test.at {
				o.until("was written at once", func(r directory.Record, _ *zk.Stat) bool { return r.Seq > first.Seq })
				return
			}
			realtest.Eventually(t, soon, func() error {
				if h.askedTimes() == asked {
					return errors.New("the kick was not taken up")
				}
				return nil
			})
			// A round of its own, so that the kick's is over.
			h.say(func(p *registry.Publication) { p.Present = false })
			if err := h.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := h.Status().LastRecord.Seq; got != first.Seq {
				t.Errorf("seq %d, want %d: nothing to write", got, first.Seq)
			}
		})
	}
}

func testFlush(t *testing.T, z *realtest.ZooKeeper) {
	cfg := newConfig(t, z, ownPath(t))
	cfg.Interval = time.Hour
	h := startHost(t, cfg, "10.0.0.1:1")
	o := look(t, z, cfg.Path+"/turn-1")
	for i := range 20 {
		h.say(func(p *registry.Publication) { p.Record.Allocations = i })
		if err := h.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r, _, err := o.record(); err != nil || r.Allocations != i {
			t.Fatalf("after flush %d the record says %d (%v)", i, r.Allocations, err)
		}
	}
}

func testFlushConflict(t *testing.T, z *realtest.ZooKeeper) {
	path := ownPath(t)
	startHost(t, newConfig(t, z, path), "10.0.0.1:1")
	look(t, z, path+"/turn-1").eventually("10.0.0.1:1")
	h := startHost(t, newConfig(t, z, path), "10.0.0.2:1")
	if err := h.Flush(t.Context()); !errors.Is(err, directory.ErrConflict) {
		t.Errorf("Flush returned %v, want a conflict", err)
	}
}

func testPrometheus(t *testing.T, z *realtest.ZooKeeper) {
	cfg := newConfig(t, z, ownPath(t))
	cfg.PrometheusPath, cfg.Prometheus = cfg.Path+"-prometheus", []byte(`{"host":"10.0.0.1","port":13479,"name":"turn-1"}`)
	startHost(t, cfg, "10.0.0.1:1")
	o := look(t, z, cfg.Path+"/turn-1")
	o.eventually("10.0.0.1:1")
	o.written(3)
	data, stat, err := o.c.Get(cfg.PrometheusPath + "/turn-1")
	if err != nil {
		t.Fatal(err)
	}
	_, record, err := o.record()
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(data) || string(data) != string(cfg.Prometheus) {
		t.Errorf("the node holds %s, want %s", data, cfg.Prometheus)
	}
	if stat.EphemeralOwner != record.EphemeralOwner || stat.Mzxid != stat.Czxid {
		t.Errorf("owner %x, written since: %v; want the session of the record (%x) and no write", stat.EphemeralOwner, stat.Mzxid != stat.Czxid, record.EphemeralOwner)
	}
}

func testDigest(t *testing.T, z *realtest.ZooKeeper) {
	path := ownPath(t)
	cfg := newConfig(t, z, path)
	cfg.Directory.ACL, cfg.Directory.Auth = directory.ACLDigest, "fleet:one password"
	h := startHost(t, cfg, "10.0.0.1:1")
	o := look(t, z, path+"/turn-1")
	o.eventually("10.0.0.1:1")
	_, anonymous := o.c.Set(o.path, nil, -1)
	_, intruder := o.c.Create(path+"/turn-2", nil, 0, zk.WorldACL(zk.PermAll))
	for what, err := range map[string]error{"set": anonymous, "create": intruder, "delete": o.c.Delete(o.path, -1)} {
		if !errors.Is(err, zk.ErrNoAuth) {
			t.Errorf("%s without the credential: %v, want it refused", what, err)
		}
	}
	o.written(2)

	wrong := newConfig(t, z, path)
	wrong.Node = "turn-2"
	wrong.Directory.ACL, wrong.Directory.Auth = directory.ACLDigest, "fleet:another password"
	w := startHost(t, wrong, "10.0.0.2:1")
	realtest.Eventually(t, soon, func() error {
		if s := w.Status(); !strings.Contains(s.LastError, "registry.auth_file") {
			return fmt.Errorf("last error %q, want one that names registry.auth_file", s.LastError)
		}
		return nil
	})
	if w.counts.get("failures operation=create") == 0 {
		t.Error("the refused create was not counted as a failure")
	}
	if all := h.logs.String() + w.logs.String(); strings.Contains(all, "password") {
		t.Errorf("a password was logged:\n%s", all)
	}

	h.stop() // The same credential takes the name over again.
	startHost(t, cfg, "10.0.0.1:2")
	o.eventually("10.0.0.1:2")
}

func testCounts(t *testing.T, z *realtest.ZooKeeper) {
	cfg := newConfig(t, z, ownPath(t))
	h := startHost(t, cfg, "10.0.0.1:1")
	look(t, z, cfg.Path+"/turn-1").written(2)
	h.say(func(p *registry.Publication) { p.Present = false })
	for _, operation := range []string{"create", "set", "exists", "delete"} {
		realtest.Eventually(t, soon, func() error {
			if h.counts.get("operations operation="+operation) == 0 {
				return fmt.Errorf("no %s was counted", operation)
			}
			return nil
		})
		if n := h.counts.get("failures operation=" + operation); n != 0 {
			t.Errorf("%v failures of %s, want none", n, operation)
		}
	}
}

func testStateFile(t *testing.T, z *realtest.ZooKeeper) {
	cfg := newConfig(t, z, ownPath(t))
	cfg.Directory.StateFile = filepath.Join(t.TempDir(), "missing", "sessions")
	h := startHost(t, cfg, "10.0.0.1:1")
	look(t, z, cfg.Path+"/turn-1").eventually("10.0.0.1:1")
	if !strings.Contains(h.logs.String(), "cannot remember the ZooKeeper session") {
		t.Errorf("nothing about the state file was logged:\n%s", h.logs.String())
	}
}

func TestFlushWhileAway(t *testing.T) {
	t.Parallel()
	ip := realtest.Loopback(t)
	port := realtest.FreePort(t, ip)
	c := hostConfig{Server: net.JoinHostPort(ip, fmt.Sprint(port)), Path: "/servers", Timeout: timeout}
	h := startHost(t, c.config(), "10.0.0.1:1")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := h.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Flush without ZooKeeper returned %v, want the deadline", err)
	}
	written := make(chan error, 1)
	go func() { written <- h.Flush(t.Context()) }()
	z := realtest.StartZooKeeperAt(t, ip, port)
	pace := realtest.NewPace()
	if err := <-written; err != nil {
		t.Error(err)
	}
	pace.Within(t, 3*time.Second, "registered")
	look(t, z, "/servers/turn-1").eventually("10.0.0.1:1")
	h.stop() // Before its server.
}
