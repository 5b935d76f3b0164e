package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// attackEnv makes this test binary the attacker that it describes.
const attackEnv = "TURNWARDEN_TEST_ATTACK"

// An attack is what strangers and one caller gone wild do to an API.
type attack struct {
	Addr, Token     string
	Held, PerSecond int
	Strangers       []stranger
}

// A stranger connects so many times a second and says the same each time.
type stranger struct {
	Addr, Says string
	PerSecond  int
	Then       string // what it does with the answer: resets, ignores; "" = reads it
}

const (
	resets  = "resets"
	ignores = "ignores"
)

// bodiless makes requests whose body never comes. Before bodies were read ahead, those were
// all connections that there may be.
func bodiless(addr string) stranger {
	return stranger{addr, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n", 220, ""}
}

// attacked is what came of it.
type attacked struct {
	Made, Most int64 // connections, and at a time
	Took       time.Duration
	Codes      map[int]int // of the wild caller's answers; 0 = none
}

// others are the answers that are neither a credential nor a refusal.
func (a attacked) others() (n int) {
	for code, count := range a.Codes {
		if code != http.StatusOK && code != http.StatusTooManyRequests {
			n += count
		}
	}
	return n
}

// attackMain attacks until its standard input ends. It says when all its connections
// have been made, and in the end what came of it.
func attackMain(description string) {
	var a attack
	if err := json.Unmarshal([]byte(description), &a); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	var idle holders
	for i := range a.Held {
		all.Go(func() { idle.hold(ctx, a.Addr, i) })
	}
	for tick := time.NewTicker(10 * time.Millisecond); idle.made.Load() < int64(a.Held); {
		<-tick.C
	}
	fmt.Println("made")
	var done attacked
	if a.PerSecond > 0 {
		all.Go(func() {
			begin := time.Now()
			done.Codes = send(ctx, "http://"+a.Addr+"/turncredential", a.Token, a.PerSecond)
			done.Took = time.Since(begin)
		})
	}
	for _, s := range a.Strangers {
		all.Go(func() { s.come(ctx) })
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	cancel()
	all.Wait()
	done.Made, done.Most = idle.made.Load(), idle.most.Load()
	_ = json.NewEncoder(os.Stdout).Encode(done)
}

// An attacker is a process of its own, for its thousands of goroutines would be in the way
// of who measures, and of the lowest priority: those who attack a host have processors of
// their own and do not take its.
type attacker struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout *bufio.Reader
}

// startAttack returns when the connections are made.
func startAttack(t *testing.T, a attack) attacker {
	t.Helper()
	description, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "nice", "-n", "19", os.Args[0])
	cmd.Env = append(os.Environ(), attackEnv+"="+string(description))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(stdout)
	if line, err := r.ReadString('\n'); err != nil {
		t.Fatalf("the attacker said %q: %v", line, err)
	}
	return attacker{cmd, stdin, r}
}

func (a attacker) end(t *testing.T) (done attacked) {
	t.Helper()
	_ = a.stdin.Close()
	if err := json.NewDecoder(a.stdout).Decode(&done); err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return done
}

// holders keep connections open and want nothing.
type holders struct{ made, now, most atomic.Int64 }

// hold keeps a connection for as long as the server does, and makes another after a while.
func (c *holders) hold(ctx context.Context, addr string, i int) {
	for ctx.Err() == nil {
		c.once(ctx, addr, i)
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
		}
	}
}

func (c *holders) once(ctx context.Context, addr string, i int) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	c.made.Add(1)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	n := c.now.Add(1)
	defer c.now.Add(-1)
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
	switch i % 3 {
	case 0: // silent
	case 1: // a request that does not end
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		if _, err := conn.Write([]byte("GET /turncredential HTTP/1.1\r\nHost: t\r\n")); err != nil {
			return
		}
		for range tick.C {
			if _, err := conn.Write([]byte("X: y\r\n")); err != nil || ctx.Err() != nil {
				return
			}
		}
	case 2: // one refused request
		if _, err := conn.Write([]byte("GET /turncredential HTTP/1.1\r\nHost: t\r\n\r\n")); err != nil {
			return
		}
	}
	_, _ = io.Copy(io.Discard, conn)
}

// come connects until ctx ends, whatever became of the connections before.
func (s stranger) come(ctx context.Context) {
	tick := time.NewTicker(time.Second / time.Duration(s.PerSecond))
	defer tick.Stop()
	var all sync.WaitGroup
	defer all.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		all.Go(func() { s.once(ctx) })
	}
}

func (s stranger) once(ctx context.Context) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	_, _ = io.WriteString(conn, s.Says)
	switch s.Then {
	case resets:
		_, _ = conn.Read(make([]byte, 1))
		_ = conn.(*net.TCPConn).SetLinger(0)
	case ignores:
		<-ctx.Done()
	default:
		_, _ = io.Copy(io.Discard, conn)
	}
}

// send sends that many requests a second on kept connections until ctx ends, and counts
// the answers by their code; 0 = none.
func send(ctx context.Context, url, token string, perSecond int) map[int]int {
	const connections = 16
	var mu sync.Mutex
	codes := map[int]int{}
	client := http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	for range connections {
		all.Go(func() {
			tick := time.NewTicker(time.Second * connections / time.Duration(perSecond))
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
				if err != nil {
					return
				}
				r.Header.Set("Authorization", "Bearer "+token)
				code := 0
				if response, err := client.Do(r); err == nil {
					_, _ = io.Copy(io.Discard, response.Body)
					_ = response.Body.Close()
					code = response.StatusCode
				}
				if ctx.Err() == nil {
					mu.Lock()
					codes[code]++
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return codes
}
