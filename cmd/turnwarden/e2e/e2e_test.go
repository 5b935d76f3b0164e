package e2e

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/turn/v5"

	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestRelayKnowingZooKeeperAlone is the product in one test: clients that know the
// ZooKeeper address and nothing else relay bytes, with each credential that was ever
// handed out and has not expired, across 20 rotations. Nobody is refused.
func TestRelayKnowingZooKeeperAlone(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	h := newHost(t, options{zookeeper: []string{z.Addr()}, set: map[string]string{
		"credentials.rotate_every": "1s", "credentials.lifetime": "6s",
	}})
	h.serve(t)
	c := z.Client(t)
	server := uri(t, listed(t, c, 10*time.Second).URIs)

	var mu sync.Mutex
	valid := map[string]seed{}
	seen := map[string]bool{}
	var short []time.Duration // what was left of credentials that had less than lifetime - rotate_every
	allocations := 0
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			// coturn keeps a 5-tuple for a second after its allocation and answers 437
			// to who comes from the same port: the pace keeps that from being likely.
			pace := time.NewTicker(100 * time.Millisecond)
			defer pace.Stop()
			for ctx.Err() == nil && !t.Failed() {
				<-pace.C
				mu.Lock()
				if len(seen) > 20 {
					mu.Unlock()
					return
				}
				var all []seed
				for _, s := range valid {
					all = append(all, s)
				}
				mu.Unlock()
				for _, s := range all {
					// An Allocate that begins 300 ms before the expiry is the last fair one.
					if time.Until(s.expires()) < 300*time.Millisecond {
						continue
					}
					if _, err := probe.Allocate(ctx, server, s.UserID, s.Password); err != nil && time.Until(s.expires()) > 0 {
						t.Errorf("refused %v before its expiry: %v", time.Until(s.expires()), err)
						return
					}
					mu.Lock()
					allocations++
					mu.Unlock()
				}
			}
		})
	}
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for ctx.Err() == nil && !t.Failed() {
		<-again.C
		record := listed(t, c, 5*time.Second)
		asked := time.Now()
		s := mustFetch(t, record.RESTAddr)
		// It was handed out after it was asked for.
		if left := s.expires().Sub(asked); left < 5*time.Second {
			short = append(short, left)
		}
		mu.Lock()
		seen[s.UserID] = true
		valid[s.UserID] = s
		for id, old := range valid {
			if time.Until(old.expires()) <= 0 {
				delete(valid, id)
			}
		}
		enough := len(seen) > 20
		mu.Unlock()
		if enough {
			break
		}
		if err := probe.Relay(ctx, server, s.UserID, s.Password, 1200); err != nil && time.Until(s.expires()) > 0 {
			t.Fatalf("relay: %v", err)
		}
	}
	clients.Wait()
	t.Logf("%d credentials, %d allocations, none refused", len(seen), allocations)
	if len(seen) <= 20 {
		t.Fatalf("%d rotations seen, want 20", len(seen)-1)
	}
	if got := h.metric(t, "turnwarden_credential_rotation_failures_total"); got != "0" {
		t.Errorf("%s rotations failed", got)
	}
	// The promise holds while rotations keep in time: only a step that took longer than
	// the 200 ms between the publication and its limit excuses a shorter rest.
	if slowest := h.slowestTransition(t); len(short) > 0 && slowest < 200*time.Millisecond {
		t.Errorf("credentials were handed out with %v left, less than lifetime - rotate_every, though no step took more than %v", short, slowest)
	}
	realtest.Eventually(t, 10*time.Second, func() error {
		users, err := exec.Command("sqlite3", "-readonly", h.dir+"/turndb", "select count(*) from turnusers_lt").Output()
		if n := strings.TrimSpace(string(users)); err != nil || n > "8" || len(n) > 1 {
			return fmt.Errorf("users left in the userdb: %s %v", n, err)
		}
		return nil
	})
}

// TestOtherClients relays with clients that are not ours: pion's and coturn's own.
func TestOtherClients(t *testing.T) {
	t.Parallel()
	realtest.Require(t, "turnutils_uclient")
	h := newHost(t, options{})
	h.serve(t)
	s := mustFetch(t, h.rest())
	peer := realtest.Peer(t)
	t.Run("pion", func(t *testing.T) { relayWithPion(t, h.addr(), s, peer) })
	t.Run("uclient", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, "turnutils_uclient", "-c", "-e", peer.Addr().String(), "-r", fmt.Sprint(peer.Port()),
			"-u", s.UserID, "-w", s.Password, "-n", "20", "-m", "2", "-l", "100", "-p", fmt.Sprint(h.turn), h.ip).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, want := range []string{`tot_send_bytes ~ 4000\b`, `tot_recv_bytes ~ 4000\b`, `Total lost packets 0\b`} {
			if !regexp.MustCompile(want).Match(out) {
				t.Errorf("no %q in:\n%s", want, out)
			}
		}
	})
}

func relayWithPion(t *testing.T, server netip.AddrPort, s seed, peer netip.AddrPort) {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: server.String(), TURNServerAddr: server.String(), Conn: conn, Username: s.UserID, Password: s.Password,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Listen(); err != nil {
		t.Fatal(err)
	}
	relay, err := client.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	_ = relay.SetDeadline(time.Now().Add(10 * time.Second))
	want := strings.Repeat("turnwarden ", 50)
	if _, err := relay.WriteTo([]byte(want), net.UDPAddrFromAddrPort(peer)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 2000)
	n, _, err := relay.ReadFrom(got)
	if err != nil || string(got[:n]) != want {
		t.Fatalf("echo of %d bytes: %d bytes, %v", len(want), n, err)
	}
}

// uri takes the UDP address out of a record's URIs.
func uri(t *testing.T, uris []string) netip.AddrPort {
	for _, u := range uris {
		address, ok := strings.CutSuffix(strings.TrimPrefix(u, "turn:"), "?transport=udp")
		if !ok {
			continue
		}
		if a, err := netip.ParseAddrPort(address); err == nil {
			return a
		}
	}
	t.Errorf("no UDP address in %q", uris)
	return netip.AddrPort{}
}

// holdAllocation keeps a call open until the returned function is called.
func holdAllocation(t *testing.T, server netip.AddrPort, s seed) (hangUp func()) {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: server.String(), TURNServerAddr: server.String(), Conn: conn, Username: s.UserID, Password: s.Password,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Listen(); err != nil {
		t.Fatal(err)
	}
	// The rotator's or the prober's own allocation may hold the place for a second.
	var relay net.PacketConn
	realtest.Eventually(t, 10*time.Second, func() (err error) {
		relay, err = client.Allocate()
		return err
	})
	end := sync.OnceFunc(func() {
		_ = relay.Close()
		client.Close()
		_ = conn.Close()
	})
	t.Cleanup(end)
	return end
}

// slowestTransition is the longest that a step of a credential took, by the log.
func (h *host) slowestTransition(t *testing.T) (slowest time.Duration) {
	t.Helper()
	steps := regexp.MustCompile(`msg="credential transition".* duration=(\S+)`).FindAllStringSubmatch(h.log(t), -1)
	if len(steps) < 20 {
		t.Fatalf("%d steps in the log", len(steps))
	}
	for _, m := range steps {
		d, err := time.ParseDuration(m[1])
		if err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, d)
	}
	return slowest
}
