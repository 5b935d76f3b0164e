// Package realtest starts the real servers that the tests of turnwarden talk
// to: turnserver, ZooKeeper and Prometheus, each on loopback, in a directory of
// its own, ended with the test. Only tests import it.
//
// A missing program skips the test with a reason; with TURNWARDEN_REQUIRE_REAL=1,
// which `make test` and CI set, it fails instead.
package realtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Require skips the test, or fails it where real parts are required, unless
// every program is in PATH and every absolute path exists.
func Require(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		var err error
		if strings.HasPrefix(p, "/") {
			_, err = os.Stat(p)
		} else {
			_, err = exec.LookPath(p)
		}
		if err != nil {
			Missing(t, fmt.Sprintf("%s is not installed (%v): run `make deps`", p, err))
		}
	}
}

// Missing ends the test for want of something real: a skip with the reason, or
// a failure where TURNWARDEN_REQUIRE_REAL=1.
func Missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("TURNWARDEN_REQUIRE_REAL") == "1" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

var loopbacks atomic.Uint32

// Loopback returns an address of 127.0.0.0/8 that no other test uses, so that
// parallel packages cannot take each other's ports.
func Loopback(t testing.TB) string {
	t.Helper()
	n := loopbacks.Add(1)
	pid := uint32(os.Getpid())
	return fmt.Sprintf("127.%d.%d.%d", 1+(pid>>8)%250, pid&0xff, 1+n%250)
}

// ports is how many ports were handed out, from a start by chance: a test asks for several
// before it listens on the first, and must not get the same twice.
var ports atomic.Uint32

var firstPort = rand.Uint32N(10000)

// FreePort returns a port of ip that is free for TCP and UDP. It lies below the
// kernel's ephemeral range and the relay ports of the tests, so that nobody takes it meanwhile.
func FreePort(t testing.TB, ip string) int {
	t.Helper()
	for range 100 {
		port := 10000 + int((firstPort+ports.Add(1))%10000)
		addr := net.JoinHostPort(ip, fmt.Sprint(port))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		p, err := net.ListenPacket("udp", addr)
		_ = l.Close()
		if err != nil {
			continue
		}
		_ = p.Close()
		return port
	}
	t.Fatalf("no free port on %s", ip)
	return 0
}

// Eventually waits until ok returns nil and fails the test with its last error when that
// takes longer than limit, which is stretched by how busy the machine is. It asks every
// 5 ms at first and ever less often, up to every 100 ms: a question may be a scrape or a
// process, and hundreds of them a second took two thirds of the processor time of all tests.
func Eventually(t testing.TB, limit time.Duration, ok func() error) {
	t.Helper()
	pace := NewPace()
	for {
		err := ok()
		if err == nil {
			return
		}
		if took := pace.Took(); took > limit && took > pace.Stretch(limit) {
			t.Fatalf("not within %v (%v on a machine this busy): %v", limit, pace.Stretch(limit), err)
		}
		time.Sleep(min(max(pace.Took()/20, 5*time.Millisecond), 100*time.Millisecond))
	}
}
