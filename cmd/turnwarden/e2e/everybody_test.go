package e2e

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/pion/turn/v5"
	"github.com/prometheus/procfs"

	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// everybody is everybody who depends on a host at once: clients of its API, Prometheus, calls,
// and readers of its record. Whatever goes wrong for one of them fails the test.
type everybody struct {
	t   *testing.T
	h   *host
	all sync.WaitGroup
	end context.CancelFunc
	ctx context.Context

	credentials, kept, scrapes, looks atomic.Int64 // answered
	sent, received                    atomic.Int64 // packets through the relay, there and back
	slowest                           atomic.Int64 // answer, in ns
	left                              atomic.Int64 // when, in ns since the epoch

	sockets map[netip.AddrPort]bool // of the calls and of their peer
}

// everybodyOf starts them all.
func everybodyOf(t *testing.T, h *host, z *realtest.ZooKeeper, calls int) *everybody {
	t.Helper()
	c := callsOf(t, h, calls)
	for range 3 {
		c.every(5*time.Millisecond, func() { c.get(fresh, "http://"+h.rest()+"/turncredential", &c.credentials, c.credential) })
	}
	pool := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}}
	t.Cleanup(pool.CloseIdleConnections)
	c.every(5*time.Millisecond, func() { c.get(pool, "http://"+h.rest()+"/turncredential", &c.kept, c.credential) })
	web := "http://" + net.JoinHostPort(h.ip, fmt.Sprint(h.web))
	c.every(20*time.Millisecond, func() { c.get(fresh, web+"/metrics", &c.scrapes, c.exposition(calls)) })
	c.every(20*time.Millisecond, func() { c.get(pool, web+"/-/ready", &c.scrapes, nil) })
	c.watch(z)
	return c
}

// callsOf starts the calls alone.
func callsOf(t *testing.T, h *host, calls int) *everybody {
	t.Helper()
	c := &everybody{t: t, h: h, sockets: map[netip.AddrPort]bool{}}
	c.ctx, c.end = context.WithCancel(t.Context())
	peer := realtest.Peer(t)
	c.sockets[peer] = true
	for range calls {
		c.call(peer)
	}
	h.metricIs(t, "turnwarden_allocations", strconv.Itoa(calls), 20*time.Second)
	return c
}

// leave ends them, the calls last, once what is on its way has arrived.
func (c *everybody) leave() {
	c.left.Store(time.Now().UnixNano())
	c.end()
	c.all.Wait()
}

// every does f again and again, a pause after each.
func (c *everybody) every(pause time.Duration, f func()) {
	c.all.Go(func() {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for c.ctx.Err() == nil {
			f()
			<-tick.C
		}
	})
}

// fresh opens a connection per request.
var fresh = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// freshFrom does so from one of this host's addresses.
func freshFrom(ip string) *http.Client {
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: from.DialContext}}
}

func (c *everybody) get(client *http.Client, url string, count *atomic.Int64, check func(body string) error) {
	began := time.Now()
	resp, err := client.Get(url)
	if err != nil {
		c.t.Errorf("after %d answers, on a connection that is kept: %v: %v", count.Load(), client != fresh, err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	if err == nil && check != nil {
		err = check(string(body))
	}
	if err != nil {
		c.t.Errorf("GET %s, after %d answers: %v", url, count.Load(), err)
		return
	}
	count.Add(1)
	took := int64(time.Since(began))
	for slowest := c.slowest.Load(); took > slowest && !c.slowest.CompareAndSwap(slowest, took); slowest = c.slowest.Load() {
	}
}

func (c *everybody) credential(body string) error {
	var s seed
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		return err
	}
	if s.Code != "ok" || time.Until(s.expires()) <= 0 {
		return fmt.Errorf("%s", body)
	}
	return nil
}

// exposition checks that a scrape tells the truth at every moment.
func (c *everybody) exposition(calls int) func(body string) error {
	return func(body string) error {
		values := map[string]string{}
		for line := range strings.Lines(body) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
				values[name] = value
			}
		}
		for name, want := range map[string]string{
			"turnwarden_turnserver_up": "1", `turnwarden_state{state="up"}`: "1", "turnwarden_credential_valid": "1",
			`turnwarden_turnserver_restarts_total{reason="exit"}`: "0",
		} {
			if values[name] != want {
				return fmt.Errorf("a scrape says %s %q, want %s", name, values[name], want)
			}
		}
		// Proofs of our own count, too, when a busy machine keeps them from their end.
		if n, err := strconv.Atoi(values["turnwarden_allocations"]); err != nil || n < calls || n > calls+3 {
			return fmt.Errorf("a scrape says turnwarden_allocations %q, want %d", values["turnwarden_allocations"], calls)
		}
		return nil
	}
}

// watch reads the record as fast as it can, and hears of every change.
func (c *everybody) watch(z *realtest.ZooKeeper) {
	path := "/turn/servers/" + hostName(c.t)
	reader, watcher := z.Client(c.t), z.Client(c.t)
	_, first, err := reader.Exists(path)
	if err != nil {
		c.t.Fatal(err)
	}
	c.all.Go(func() {
		var seq uint64
		for c.ctx.Err() == nil {
			names, _, err := reader.Children("/turn/servers")
			if err != nil || len(names) != 1 {
				c.t.Errorf("children %v, %v", names, err)
				return
			}
			data, stat, err := reader.Get(path)
			if err != nil {
				c.t.Errorf("the record: %v", err)
				return
			}
			r, err := directory.Decode(data)
			if err != nil || r.FreeTraffic <= 0 || r.State != "up" || r.Seq < seq || stat.Czxid != first.Czxid {
				c.t.Errorf("record %s (%v), %+v; want one that is up, after seq %d, and the node of before", data, err, stat, seq)
				return
			}
			seq = r.Seq
			c.looks.Add(1)
		}
	})
	c.all.Go(func() {
		for c.ctx.Err() == nil {
			_, _, changed, err := watcher.GetW(path)
			if err != nil {
				c.t.Errorf("watch: %v", err)
				return
			}
			select {
			case e := <-changed:
				if e.Type != zk.EventNodeDataChanged {
					c.t.Errorf("a watcher heard of %v", e.Type)
				}
			case <-c.ctx.Done():
			}
		}
	})
}

// call sends a packet through the relay every 20 ms, and counts those that come back.
func (c *everybody) call(peer netip.AddrPort) {
	s := mustFetch(c.t, c.h.rest())
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	c.sockets[conn.LocalAddr().(*net.UDPAddr).AddrPort()] = true
	server := c.h.addr().String()
	client, err := turn.NewClient(&turn.ClientConfig{STUNServerAddr: server, TURNServerAddr: server, Conn: conn, Username: s.UserID, Password: s.Password})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := client.Listen(); err != nil {
		c.t.Fatal(err)
	}
	relay, err := client.Allocate()
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = relay.Close()
		client.Close()
		_ = conn.Close()
	})
	var sent, received atomic.Int64
	c.every(20*time.Millisecond, func() {
		packet := binary.BigEndian.AppendUint64(make([]byte, 0, 172), uint64(sent.Load()))
		if _, err := relay.WriteTo(packet[:172], net.UDPAddrFromAddrPort(peer)); err != nil {
			c.t.Errorf("a call after %d packets: %v", sent.Load(), err)
			return
		}
		sent.Add(1)
		c.sent.Add(1)
	})
	c.all.Go(func() {
		buf := make([]byte, 1500)
		for {
			_ = relay.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			n, _, err := relay.ReadFrom(buf)
			switch {
			case err == nil && n == 172:
				received.Add(1)
				c.received.Add(1)
			case c.ctx.Err() != nil && (received.Load() == sent.Load() || c.late()):
				return
			}
		}
	})
}

// dropped is how many packets the kernel has dropped on the way because who was to read
// them, turnserver or we, did not get to it for some tenths of a second. Where that is so
// the machine has no time for the calls, whatever turnwarden does.
func (c *everybody) dropped() (n uint64) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		c.t.Fatal(err)
	}
	all, err := fs.NetUDP()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, l := range all {
		ip, _ := netip.AddrFromSlice(l.LocalAddr.To4())
		if ip == c.h.addr().Addr() || c.sockets[netip.AddrPortFrom(ip, uint16(l.LocalPort))] {
			n += *l.Drops
		}
	}
	return n
}

// late says whether a packet that is still missing will not come any more.
func (c *everybody) late() bool { return time.Since(time.Unix(0, c.left.Load())) > 10*time.Second }
