package gate

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// answer sends a request as it stands and returns what is answered, and whether the
// connection can be used again.
func answer(t *testing.T, addr, request string) (body string, again bool) {
	t.Helper()
	c := connect(t, addr)
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("%.80q: %v", request, err)
	}
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.Close {
		_, err := r.ReadByte()
		if err == nil {
			t.Errorf("%.80q: more than one answer", request)
		}
		return string(b), false
	}
	return string(b), true
}

// TestBodies: what comes is read, by the handler or not, and what does not is not waited for.
func TestBodies(t *testing.T) {
	t.Parallel()
	addr := bounded(t, 0, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			b, err := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%d bytes, whole: %v", len(b), err == nil)
		}
	}))
	for name, c := range map[string]struct {
		head, sent, want string
		again            bool
	}{
		"no body":             {"GET / HTTP/1.1", "", "", true},
		"one nobody reads":    {"GET / HTTP/1.1\r\nContent-Length: 9", "123456789", "", true},
		"one that is read":    {"POST / HTTP/1.1\r\nContent-Length: 9", "123456789", "9 bytes, whole: true", true},
		"in chunks":           {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n", "3 bytes, whole: true", true},
		"as long as it may":   {"POST / HTTP/1.1\r\nContent-Length: 4096", strings.Repeat("a", 4096), "4096 bytes, whole: true", true},
		"none comes":          {"GET / HTTP/1.1\r\nContent-Length: 9", "", "", false},
		"half comes":          {"POST / HTTP/1.1\r\nContent-Length: 9", "1234", "4 bytes, whole: false", false},
		"no chunk comes":      {"GET / HTTP/1.1\r\nTransfer-Encoding: chunked", "", "", false},
		"it is too long":      {"GET / HTTP/1.1\r\nContent-Length: 4097", "", "", false},
		"chunks are too long": {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked", "1001\r\n" + strings.Repeat("a", 4097) + "\r\n0\r\n\r\n", "4097 bytes, whole: false", false},
		"it waits to be told": {"GET / HTTP/1.1\r\nContent-Length: 9\r\nExpect: 100-continue", "", "", false},
	} {
		began := time.Now()
		got, again := answer(t, addr, c.head+"\r\nHost: t\r\n\r\n"+c.sent)
		if got != c.want || again != c.again {
			t.Errorf("%s: got %q, to be used again: %v", name, got, again)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: %v", name, took)
		}
	}
}

// TestBodiesThatNobodyReads: however many say that there is a body, and send none, others
// are answered.
func TestBodiesThatNobodyReads(t *testing.T) {
	t.Parallel()
	const limit = 64
	addr := bounded(t, limit, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for range 2 * limit {
		if _, err := io.WriteString(connect(t, addr), "GET / HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	realtest.Eventually(t, 2*time.Second, func() error {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		defer c.Close()
		return request(c, "/")
	})
}

// TestClientsShare: one client has an eighth of the connections, whatever it does with them,
// and others their own. This host and proxies are many.
func TestClientsShare(t *testing.T) {
	t.Parallel()
	g := New(nil, 80)
	g.Trust([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/28")})
	enter := func(addr string, n int) (all []*made) {
		for i := range n {
			c := &made{addr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), uint16(1000+i)))}
			g.enter(t.Context(), c)
			if i%2 == 0 {
				g.follow(c, http.StateActive)
			}
			all = append(all, c)
		}
		return all
	}
	left := func(all []*made) (n int) {
		for _, c := range all {
			if !c.closed {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		addr string
		want int
	}{{"198.51.100.1", 10}, {"::ffff:198.51.100.2", 10}, {"2001:db8::1", 10}, {"192.0.2.1", 15}, {"127.0.0.1", 15}} {
		all := enter(c.addr, 15)
		if got := left(all); got != c.want {
			t.Errorf("%s has %d, want %d", c.addr, got, c.want)
		}
		for _, nc := range all {
			g.follow(nc, http.StateClosed)
		}
	}
	if a, b := enter("2001:db8::1", 8), enter("2001:db8::2", 8); left(a)+left(b) != 10 {
		t.Errorf("a /64 has %d", left(a)+left(b))
	}
	if len(g.clients) != 1 {
		t.Errorf("%d clients are remembered", len(g.clients))
	}
}

type made struct {
	net.Conn
	addr   net.Addr
	closed bool
}

func (m *made) RemoteAddr() net.Addr { return m.addr }

func (m *made) Close() error {
	m.closed = true
	return nil
}
