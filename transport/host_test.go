package transport

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestHosts: a name that leads here against our will is found out, and no address is one.
func TestHosts(t *testing.T) {
	cert, key := realtest.Certificate(t, "*.example.org", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	var pem [2][]byte
	for i, path := range []string{cert, key} {
		var err error
		if pem[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	over := new(TLS)
	if err := over.Replace(pem[0], pem[1], nil); err != nil {
		t.Fatal(err)
	}
	g := newGuard(Access{Hosts: &Hosts{Names: []string{"Node-1", "turn.internal."}, Over: over}})
	for _, refuse := range []refusal{problem, seedRefusal} {
		h := g.protect(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), "", refuse)
		for host, want := range map[string]int{
			"127.0.0.1": 200, "127.0.0.1:13478": 200, "10.0.0.5:13478": 200, "[::1]:13478": 200, "[2001:db8::1]": 200, "localhost": 200, "LocalHost:13478": 200, "": 200,
			"node-1:13478": 200, "NODE-1.": 200, "turn.internal": 200, "turn-7.example.org:443": 200,
			"evil.example": 421, "evil.example:13478": 421, "a.b.example.org": 421, "127.0.0.1.evil.example": 421, "localhost.evil.example": 421, "node-1.evil.example": 421, "xlocalhost": 421,
		} {
			r := httptest.NewRequest(http.MethodGet, "/turncredential", nil)
			r.Host = host
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != want || want == 421 && !strings.Contains(w.Body.String(), "api.hosts") {
				t.Errorf("%q: %d %s", host, w.Code, w.Body)
			}
			r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}
			w = httptest.NewRecorder()
			if h.ServeHTTP(w, r); w.Code != 200 {
				t.Errorf("%q with a certificate: %d", host, w.Code)
			}
		}
	}
}
