package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/transport"
)

// caller is a page in a real browser that calls itself through a TURN server whose
// credentials it asks an API for.
type caller struct {
	*realtest.Tab
	api, token string
}

// callerOrigin serves the page from an origin of its own, which an API has to know before
// the page is opened.
func callerOrigin(t *testing.T, ip string) (origin string, open func(api, token string) *caller) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.FileServer(http.Dir("testdata")))
	_ = s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return s.URL, func(api, token string) *caller {
		tab := realtest.StartChromium(t).Open(t, realtest.Viewer{Width: 800, Height: 600}, s.URL+"/call.html")
		return &caller{tab, api, token}
	}
}

// call connects two peers through the relay and returns the username they used.
func (c *caller) call(name string) (username string) {
	c.Eval(fmt.Sprintf("call(%q, %q, %q)", name, c.api, c.token), &username)
	return username
}

// talks wants an answer through the relay, and by nothing but a relay.
func (c *caller) talks(t *testing.T, name string) {
	t.Helper()
	for _, text := range []string{"hello", strings.Repeat("x", 16<<10)} {
		var echo string
		if c.Eval(fmt.Sprintf("say(%q, %q)", name, text), &echo); echo != "echo of "+text {
			t.Errorf("call %s: said %d bytes, got %d bytes", name, len(text), len(echo))
		}
	}
	var kinds string
	if c.Eval(fmt.Sprintf("pair(calls[%q].one).then(p => p.kinds)", name), &kinds); kinds != "relay relay" {
		t.Errorf("call %s goes over %s", name, kinds)
	}
}

func (c *caller) renew(name string) (username string) {
	c.Eval(fmt.Sprintf("renew(%q, %q, %q)", name, c.api, c.token), &username)
	return username
}

// TestBrowserCallsAcrossARotation: a page in Chromium that may use relays alone calls
// with what /v1/ice says, hears of a rotation, and goes on: the old call with the old
// credential, a new call with the new one, and the old call with the new one too.
func TestBrowserCallsAcrossARotation(t *testing.T) {
	t.Parallel()
	origin, open := callerOrigin(t, "127.0.0.1")
	secret, access := pageAccess(t, origin)
	h := newHost(t, options{set: access})
	h.serve(t)
	c := open("http://"+h.rest(), secret)
	c.callsAcrossARotation(t, h)

	t.Log("without a token, and from another origin, the page gets nothing")
	var refused string
	c.Eval(fmt.Sprintf(`fetch(%q + "/v1/ice").then(async r => r.status + " " + (await r.json()).detail)`, c.api), &refused)
	if !strings.HasPrefix(refused, "401 no token") {
		t.Errorf("without a token: %s", refused)
	}
	_, elsewhere := callerOrigin(t, "127.0.0.1")
	other := elsewhere(c.api, c.token)
	other.Eval(fmt.Sprintf(`credential(%q, %q).then(c => JSON.stringify(c), e => "refused: " + e.message)`, c.api, c.token), &refused)
	if refused != "refused: Failed to fetch" {
		t.Errorf("from another origin: %s", refused)
	}
}

// TestBrowserCallsThroughAGateway is the same with a page that knows a gateway alone.
func TestBrowserCallsThroughAGateway(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	h := newHost(t, options{zookeeper: []string{z.Addr()}, set: map[string]string{"node": "turn-1"}})
	h.start(t)
	origin, open := callerOrigin(t, "127.0.0.1")
	secret, access := pageAccess(t, origin)
	g := startGateway(t, []string{z.Addr()}, access)
	h.waitReady(t)
	g.waitReady(t)
	open("http://"+g.rest(), secret).callsAcrossARotation(t, h)
}

// pageAccess lets a page in with a token, and its origin.
func pageAccess(t *testing.T, origin string) (secret string, set map[string]string) {
	t.Helper()
	secret, line, err := transport.NewToken("page")
	if err != nil {
		t.Fatal(err)
	}
	tokens := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(tokens, []byte(line+" scope=credential,events\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return secret, map[string]string{"api.tokens_file": tokens, "api.cors_origins": origin}
}

// callsAcrossARotation has the page call through the host before its credential is
// rotated and after.
func (c *caller) callsAcrossARotation(t *testing.T, h *host) {
	t.Helper()
	first := c.call("first")
	c.talks(t, "first")

	t.Log("the page hears of a rotation at once")
	var ok bool
	c.Eval(fmt.Sprintf("(calls.told = rotation(%q, %q), true)", c.api, c.token), &ok)
	realtest.Eventually(t, 20*time.Second, func() error {
		if c.Eval("calls.following === true", &ok); !ok {
			return fmt.Errorf("no event yet")
		}
		return nil
	})
	if out, code := h.ask(t, "rotate"); code != codeOK {
		t.Fatal(out)
	}
	var generation int
	if c.Eval("calls.told", &generation); generation != 2 {
		t.Errorf("told of generation %d, want 2", generation)
	}

	t.Log("the old call goes on, a new one uses the new credential, and the old one can")
	c.talks(t, "first")
	second := c.call("second")
	c.talks(t, "second")
	if second == first {
		t.Errorf("both calls used %s", first)
	}
	if renewed := c.renew("first"); renewed != second {
		t.Errorf("renewed with %s, want %s", renewed, second)
	}
	c.talks(t, "first")
}
