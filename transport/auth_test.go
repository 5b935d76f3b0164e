package transport_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/transporttest"
)

// tokens are those of the lines, with options behind the name.
func tokens(tb testing.TB, rate float64, lines ...string) (*transport.Tokens, []string) {
	tb.Helper()
	t := transport.NewTokens(rate)
	var file strings.Builder
	var secrets []string
	for _, l := range lines {
		name, options, _ := strings.Cut(l, " ")
		secret, line, err := transport.NewToken(name)
		if err != nil {
			tb.Fatal(err)
		}
		secrets = append(secrets, secret)
		fmt.Fprintln(&file, line, options)
	}
	if err := t.Replace([]byte(file.String())); err != nil {
		tb.Fatal(err)
	}
	return t, secrets
}

func guarded(a transport.Access) http.Handler {
	return transport.NewAPIHandler(transport.NewEndpoints(good), transporttest.Plain, transport.APIOptions{Access: a})
}

// call asks h without a network in between; headers are keys and values in turn.
func call(h http.Handler, method, target, from string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", target, nil)
	r.Method, r.RemoteAddr = method, from
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const anywhere = "198.51.100.7:50000"

func TestTokens(t *testing.T) {
	all, secrets := tokens(t, 0, "signalling", "page scope=status,events", "janus scope=credential")
	h := guarded(transport.Access{Tokens: all})
	for name, c := range map[string]struct {
		target, authorization string
		code                  int
		message               string
	}{
		"a token":               {"/turncredential", "Bearer " + secrets[0], 200, goodBody},
		"scheme in lower case":  {"/turncredential", "bearer " + secrets[0], 200, goodBody},
		"blanks around":         {"/turncredential", "Bearer  " + secrets[0] + " ", 200, goodBody},
		"another shape":         {"/v1/ice", "Bearer " + secrets[2], 200, "iceServers"},
		"none":                  {"/turncredential", "", 401, "no token; send Authorization: Bearer TOKEN"},
		"none elsewhere":        {"/v1/ice", "", 401, "no token"},
		"none, no such route":   {"/v2", "", 401, "no token"},
		"token, no such route":  {"/v2", "Bearer " + secrets[1], 404, "/turncredential"},
		"empty":                 {"/turncredential", "Bearer ", 401, "not known"},
		"unknown":               {"/turncredential", "Bearer " + secrets[0][1:], 401, "the token is not known here"},
		"another scheme":        {"/turncredential", "Basic " + secrets[0], 401, "not known"},
		"scope is missing":      {"/turncredential", "Bearer " + secrets[1], 403, "the token page has no scope credential"},
		"as Janus sends it":     {"/v1/turn?service=turn&api=" + secrets[2] + "&key=" + secrets[2], "", 200, `"username"`},
		"as the draft has it":   {"/v1/turn?key=" + secrets[0], "", 200, `"username"`},
		"a wrong key":           {"/v1/turn?key=" + secrets[0] + "x", "", 401, "not known"},
		"header before key":     {"/v1/turn?key=" + secrets[0], "Bearer x", 401, "not known"},
		"no key for the others": {"/v1/ice?key=" + secrets[0], "", 401, "no token"},
		"nor for the seed's":    {"/turncredential?key=" + secrets[0], "", 401, "no token"},
	} {
		t.Run(name, func(t *testing.T) {
			w := call(h, "GET", c.target, anywhere, "Authorization", c.authorization)
			if w.Code != c.code || !strings.Contains(w.Body.String(), c.message) {
				t.Errorf("got %d %s; want %d %s", w.Code, w.Body, c.code, c.message)
			}
			if challenge := w.Header().Get("WWW-Authenticate"); (c.code == 401) != strings.HasPrefix(challenge, `Bearer realm="turnwarden"`) {
				t.Errorf("WWW-Authenticate: %q", challenge)
			}
			if c.code >= 400 && strings.HasPrefix(c.target, "/turncredential") != strings.Contains(w.Body.String(), `"code" : "error"`) {
				t.Errorf("the envelope: %s", w.Body)
			}
			if c.code != 200 && strings.Contains(w.Body.String(), "s3cret") {
				t.Errorf("a credential for nobody: %s", w.Body)
			}
		})
	}
}

func TestTokensAreReplaced(t *testing.T) {
	all, secrets := tokens(t, 0, "a", "b")
	h := guarded(transport.Access{Tokens: all})
	ask := func(secret string) int {
		return call(h, "GET", "/turncredential", anywhere, "Authorization", "Bearer "+secret).Code
	}
	if err := all.Replace([]byte("a sha256:xyz\n")); err == nil || all.Len() != 2 || ask(secrets[0]) != 200 {
		t.Errorf("a mistake: %v, %d tokens, %d", err, all.Len(), ask(secrets[0]))
	}
	next, line, err := transport.NewToken("b")
	if err != nil {
		t.Fatal(err)
	}
	if err := all.Replace([]byte("# the others have left\n\n  " + line + "\r\n")); err != nil || all.Len() != 1 {
		t.Fatalf("%v, %d tokens", err, all.Len())
	}
	if ask(secrets[0]) != 401 || ask(secrets[1]) != 401 || ask(next) != 200 {
		t.Errorf("a %d, old b %d, new b %d", ask(secrets[0]), ask(secrets[1]), ask(next))
	}
	if err := all.Replace(nil); err != nil || ask(next) != 401 {
		t.Errorf("an empty file: %v, %d", err, ask(next))
	}
}

func TestTokenFileMistakes(t *testing.T) {
	sum := strings.Repeat("0123456789abcdef", 4)
	for name, c := range map[string]struct{ file, want string }{
		"name alone":        {"alice", `line 1: found "alice" alone; accepted: name sha256:HEX [rate=N] [scope=credential,pick,events,status], as turnwarden token NAME prints it`},
		"the token itself":  {"alice K3YK3YK3YK3YK3YK3YK3YK3Y", `line 1: found no digest for "alice"`},
		"short digest":      {"alice sha256:0123", `line 1: found no digest for "alice"`},
		"long digest":       {"alice sha256:" + sum + "00", `found no digest`},
		"no hexadecimal":    {"alice sha256:" + strings.Repeat("z", 64), `found no digest`},
		"odd name":          {"\n\na:b sha256:" + sum, `line 3: found no name; accepted: letters`},
		"name twice":        {"a sha256:" + sum + "\na sha256:00" + sum[2:], `line 2: found the name or the token of "a" again`},
		"token twice":       {"a sha256:" + sum + "\nb sha256:" + strings.ToUpper(sum), `line 2: found the name or the token of "a" again`},
		"unknown option":    {"a sha256:" + sum + " burst=3", `line 1: found "burst"; accepted: rate=N and scope=`},
		"rate of no number": {"a sha256:" + sum + " rate=fast", `line 1: found "rate=fast"; accepted: rate= and requests per second, 0 = no limit`},
		"negative rate":     {"a sha256:" + sum + " rate=-1", `found "rate=-1"`},
		"endless rate":      {"a sha256:" + sum + " rate=Inf", `found "rate=Inf"`},
		"unknown scope":     {"a sha256:" + sum + " scope=credential,admin", `line 1: found scope "admin"; accepted: credential, pick, events, status`},
		"no scope":          {"a sha256:" + sum + " scope=", `found scope ""`},
		"all of them":       {"a\nb\n", "line 1: found \"a\" alone; accepted: name sha256:HEX [rate=N] [scope=credential,pick,events,status], as turnwarden token NAME prints it\nline 2: "},
		"a long line":       {"a " + strings.Repeat("x", 1<<17), "read the lines"},
	} {
		t.Run(name, func(t *testing.T) {
			all := transport.NewTokens(0)
			if err := all.Replace([]byte(c.file)); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "K3Y") {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
	if _, _, err := transport.NewToken("no name"); err == nil {
		t.Error("a token with a blank in its name")
	}
}

// TestNoTokenForNothing: the digest of nothing, as a slip of the shell makes it, opens to
// nobody.
func TestNoTokenForNothing(t *testing.T) {
	all := transport.NewTokens(0)
	if err := all.Replace([]byte("a sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")); err != nil {
		t.Fatal(err)
	}
	for _, authorization := range []string{"", "Bearer", "Bearer ", "Basic x"} {
		if w := call(guarded(transport.Access{Tokens: all}), "GET", "/turncredential", anywhere, "Authorization", authorization); w.Code != 401 {
			t.Errorf("%q: got %d", authorization, w.Code)
		}
	}
}

func FuzzTokenFile(f *testing.F) {
	f.Add("a sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 rate=10 scope=credential,pick\n# b\n")
	f.Add("a\x00 sha256: rate= scope=,")
	f.Fuzz(func(t *testing.T, file string) {
		all := transport.NewTokens(0)
		err := all.Replace([]byte(file))
		if err != nil && all.Len() != 0 {
			t.Errorf("%v and %d tokens", err, all.Len())
		}
		// None that we know of is let in: the fuzzer cannot find a preimage.
		if w := call(guarded(transport.Access{Tokens: all}), "GET", "/turncredential", anywhere, "Authorization", "Bearer "+file); w.Code != 401 {
			t.Errorf("%q lets itself in: %d", file, w.Code)
		}
	})
}

func FuzzAuthorization(f *testing.F) {
	all, secrets := tokens(f, 0, "a")
	h := guarded(transport.Access{Tokens: all, Proxies: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	f.Add("Bearer x", "192.0.2.1", "https://app.example.org")
	f.Add("bearer\t", "a, 192.0.2.1:80, [::ffff:192.0.2.1%eth0]:1", "null")
	f.Fuzz(func(t *testing.T, authorization, forwarded, origin string) {
		w := call(h, "GET", "/turncredential", anywhere, "Authorization", authorization, "X-Forwarded-For", forwarded, "Origin", origin)
		if w.Code != 401 && w.Code != 403 || strings.Contains(w.Body.String(), "s3cret") || strings.Contains(authorization, secrets[0]) {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	})
}

// FuzzKey: no query lets anybody in who has no token, however it is spelled.
func FuzzKey(f *testing.F) {
	all, secrets := tokens(f, 0, "a")
	h := guarded(transport.Access{Tokens: all})
	f.Add("service=turn&key=x&api=y", "POST")
	f.Add("key=&api=%zz;&key[]=1", "HEAD")
	f.Fuzz(func(t *testing.T, query, method string) {
		if strings.Contains(query, secrets[0]) {
			return
		}
		r := httptest.NewRequest("GET", "/v1/turn", nil)
		r.Method, r.URL.RawQuery = method, query
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != 401 || strings.Contains(w.Body.String(), "s3cret") {
			t.Errorf("%s %q: %d %s", method, query, w.Code, w.Body)
		}
	})
}

// FuzzOrigin: no page but the listed one is told that it may read, whatever it asks with.
func FuzzOrigin(f *testing.F) {
	const app = "https://app.example.org"
	h := guarded(transport.Access{Origins: []string{app}})
	f.Add("OPTIONS", app+".evil.org", "GET", "authorization")
	f.Add("GET", "null", "", "\x00,")
	f.Fuzz(func(t *testing.T, method, origin, wanted, headers string) {
		w := call(h, method, "/v1/ice", anywhere, "Origin", origin, "Access-Control-Request-Method", wanted, "Access-Control-Request-Headers", headers)
		if got := w.Header().Get("Access-Control-Allow-Origin"); got != "" && (got != app || !strings.EqualFold(origin, app)) {
			t.Errorf("%s from %q: allowed %q", method, origin, got)
		}
	})
}

func prefixes(list ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func TestAddresses(t *testing.T) {
	a := transport.Access{Allow: prefixes("192.0.2.0/24", "2001:db8::/32"), Proxies: prefixes("10.0.0.0/8", "fd00::1/128")}
	h := guarded(a)
	for name, c := range map[string]struct {
		from      string
		forwarded []string
		code      int
	}{
		"allowed":                        {"192.0.2.1:1", nil, 200},
		"allowed, v6":                    {"[2001:db8::1]:1", nil, 200},
		"allowed, v4 in v6":              {"[::ffff:192.0.2.1]:1", nil, 200},
		"allowed, with a zone":           {"[2001:db8::1%eth0]:1", nil, 200},
		"elsewhere":                      {"198.51.100.1:1", nil, 403},
		"elsewhere, and says otherwise":  {"198.51.100.1:1", []string{"192.0.2.1"}, 403},
		"allowed, and says otherwise":    {"192.0.2.1:1", []string{"198.51.100.1"}, 200},
		"through a proxy":                {"10.0.0.1:1", []string{"192.0.2.1"}, 200},
		"through a proxy, with a port":   {"10.0.0.1:1", []string{"192.0.2.1:4711"}, 200},
		"through a v6 proxy":             {"[fd00::1]:1", []string{"[2001:db8::9]:4711"}, 200},
		"through two":                    {"10.0.0.1:1", []string{"192.0.2.1, 10.9.9.9"}, 200},
		"through two, in two lines":      {"10.0.0.1:1", []string{"192.0.2.1", "10.9.9.9"}, 200},
		"made up before the real one":    {"10.0.0.1:1", []string{"192.0.2.1, 198.51.100.1"}, 403},
		"made up in a line of its own":   {"10.0.0.1:1", []string{"192.0.2.1", "198.51.100.1"}, 403},
		"the proxy itself":               {"10.0.0.1:1", nil, 403},
		"proxies alone":                  {"10.0.0.1:1", []string{"10.0.0.2, 10.0.0.3"}, 403},
		"no address":                     {"10.0.0.1:1", []string{"unknown"}, 403},
		"allowed, left of no address":    {"10.0.0.1:1", []string{"192.0.2.1, unknown"}, 403},
		"allowed, with empty ones after": {"10.0.0.1:1", []string{"192.0.2.1, ,"}, 200},
		"empty":                          {"10.0.0.1:1", []string{""}, 403},
		"no address of a connection":     {"@", nil, 403},
	} {
		t.Run(name, func(t *testing.T) {
			var headers []string
			for _, f := range c.forwarded {
				headers = append(headers, "X-Forwarded-For", f)
			}
			if w := call(h, "GET", "/turncredential", c.from, headers...); w.Code != c.code {
				t.Errorf("got %d %s, want %d", w.Code, w.Body, c.code)
			}
			if w := call(h, "GET", "/nowhere", c.from, headers...); (w.Code == 403) != (c.code == 403) {
				t.Errorf("what there is not: got %d %s", w.Code, w.Body)
			}
		})
	}
}

func TestRateOfATokenAndOfAnAddress(t *testing.T) {
	for name, c := range map[string]struct {
		access func(t *testing.T) (a transport.Access, one, other []string)
		wait   string
		every  time.Duration
		burst  int
	}{
		"token, default": {func(t *testing.T) (transport.Access, []string, []string) {
			all, s := tokens(t, 5, "one", "other")
			return transport.Access{Tokens: all, Rate: 5}, []string{"Authorization", "Bearer " + s[0]}, []string{"Authorization", "Bearer " + s[1]}
		}, "1", time.Second / 5, 5},
		"token, its own": {func(t *testing.T) (transport.Access, []string, []string) {
			all, s := tokens(t, 1000, "one rate=0.1", "other")
			return transport.Access{Tokens: all, Rate: 1000}, []string{"Authorization", "Bearer " + s[0]}, []string{"Authorization", "Bearer " + s[1]}
		}, "10", 10 * time.Second, 1},
		"token, limited alone": {func(t *testing.T) (transport.Access, []string, []string) {
			all, s := tokens(t, 0, "one rate=2", "other")
			return transport.Access{Tokens: all}, []string{"Authorization", "Bearer " + s[0]}, []string{"Authorization", "Bearer " + s[1]}
		}, "1", time.Second / 2, 2},
		"address": {func(*testing.T) (transport.Access, []string, []string) {
			return transport.Access{Rate: 3, Proxies: prefixes("198.51.100.7/32")}, []string{"X-Forwarded-For", "192.0.2.1"}, []string{"X-Forwarded-For", "192.0.2.2"}
		}, "1", time.Second / 3, 3},
		"network of v6": {func(*testing.T) (transport.Access, []string, []string) {
			return transport.Access{Rate: 3, Proxies: prefixes("198.51.100.7/32")}, []string{"X-Forwarded-For", "2001:db8::1"}, []string{"X-Forwarded-For", "2001:db8:0:1::1"}
		}, "1", time.Second / 3, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				access, one, other := c.access(t)
				h := guarded(access)
				ask := func(who []string) *httptest.ResponseRecorder { return call(h, "GET", "/v1/turn", anywhere, who...) }
				for i := range c.burst {
					if w := ask(one); w.Code != 200 {
						t.Fatalf("request %d: %d %s", i, w.Code, w.Body)
					}
				}
				for range 100 {
					w := ask(one)
					if w.Code != 429 || w.Header().Get("Retry-After") != c.wait || !strings.Contains(w.Body.String(), "requests per second") {
						t.Fatalf("too many: %d, Retry-After %q, %s", w.Code, w.Header().Get("Retry-After"), w.Body)
					}
				}
				if w := ask(other); w.Code != 200 {
					t.Errorf("the other pays for it: %d %s", w.Code, w.Body)
				}
				time.Sleep(c.every + time.Millisecond)
				if first, second := ask(one).Code, ask(one).Code; first != 200 || second != 429 {
					t.Errorf("after %v: %d, %d", c.every, first, second)
				}
			})
		})
	}
}

// TestRateOutlivesAReload: a file that is touched is no new burst.
func TestRateOutlivesAReload(t *testing.T) {
	secret, line, err := transport.NewToken("a")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		all := transport.NewTokens(1)
		h := guarded(transport.Access{Tokens: all, Rate: 1})
		for i, want := range []int{200, 429, 429} {
			if err := all.Replace([]byte(line + "\n# " + strings.Repeat("x", i))); err != nil {
				t.Fatal(err)
			}
			if w := call(h, "GET", "/v1/turn", anywhere, "Authorization", "Bearer "+secret); w.Code != want {
				t.Errorf("call %d: got %d, want %d", i, w.Code, want)
			}
		}
	})
}

// TestNothingAsked: what is off is not there.
func TestNothingAsked(t *testing.T) {
	h := guarded(transport.Access{})
	for range 1000 {
		w := call(h, "GET", "/turncredential", anywhere, "Origin", "https://evil.example.org")
		if w.Code != 200 || w.Header().Get("Access-Control-Allow-Origin") != "" || w.Header().Get("Vary") != "" {
			t.Fatalf("got %d, %v", w.Code, w.Header())
		}
	}
}

func TestOrigins(t *testing.T) {
	all, secrets := tokens(t, 0, "page")
	const app = "https://app.example.org"
	h := guarded(transport.Access{Tokens: all, Origins: []string{app}})
	preflight := func(origin string) http.Header {
		w := call(h, "OPTIONS", "/v1/ice", anywhere, "Origin", origin, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization")
		if w.Code != http.StatusNoContent {
			t.Errorf("preflight from %s: %d %s", origin, w.Code, w.Body)
		}
		return w.Header()
	}
	if got := preflight(app); got.Get("Access-Control-Allow-Origin") != app || got.Get("Access-Control-Allow-Headers") != "authorization" || got.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("listed: %v", got)
	}
	for _, origin := range []string{"https://evil.example.org", "http://app.example.org", app + ":8443", app + ".evil.org", "null"} {
		if got := preflight(origin); got.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %v", origin, got)
		}
	}
	w := call(h, "GET", "/v1/ice", anywhere, "Origin", app, "Authorization", "Bearer "+secrets[0])
	if w.Code != 200 || w.Header().Get("Access-Control-Allow-Origin") != app || !strings.Contains(w.Header().Get("Access-Control-Expose-Headers"), "Retry-After") {
		t.Errorf("the page's request: %d, %v", w.Code, w.Header())
	}
	// A page must be able to read that it is refused, and why.
	if w := call(h, "GET", "/v1/ice", anywhere, "Origin", app); w.Code != 401 || w.Header().Get("Access-Control-Allow-Origin") != app {
		t.Errorf("without a token: %d, %v", w.Code, w.Header())
	}
	if w := call(h, "OPTIONS", "/v1/ice", anywhere, "Origin", app); w.Code != 401 {
		t.Errorf("no preflight: %d", w.Code)
	}
}

// TestAddressesAreForgotten: a flood from many addresses takes a bounded share of memory.
// Those that come while nobody who is known has been idle for a second share one limit.
func TestAddressesAreForgotten(t *testing.T) {
	h := guarded(transport.Access{Rate: 1})
	from := netip.MustParseAddr("10.0.0.0")
	ask := func(n int, codes ...int) {
		for range n {
			from = from.Next()
			if w := call(h, "GET", "/v1/turn", netip.AddrPortFrom(from, 1).String()); !slices.Contains(codes, w.Code) {
				t.Fatalf("%v: %d", from, w.Code)
			}
		}
	}
	ask(30_000, 200)
	ask(10_000, 200, 429)
	before := heap()
	ask(120_000, 200, 429)
	if grown := int64(heap()) - int64(before); grown > 8<<20 {
		t.Errorf("120,000 addresses more took %d KiB", grown>>10)
	}
}

// sumLine is the line of a token file that lets the secret in.
func sumLine(name, secret string) string {
	return fmt.Sprintf("%s sha256:%x\n", name, sha256.Sum256([]byte(secret)))
}
