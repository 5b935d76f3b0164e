package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/transport"
)

// selfSigned puts a certificate of its own authority for the address there, and its key.
func selfSigned(t *testing.T, ip, cert, key string) {
	t.Helper()
	newCert, newKey := realtest.Certificate(t, ip, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	for from, to := range map[string]string{newCert: cert, newKey: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTokensOverTLS: callers need a token, and both the tokens and the certificate are
// those that the files hold now.
func TestTokensOverTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tokens, cert, key := filepath.Join(dir, "tokens"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	first, firstLine, err := transport.NewToken("first")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tokens, []byte(firstLine+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, z, _ := registered(t, options{})
	h := newHost(t, options{zookeeper: []string{z.Addr()}, set: map[string]string{
		"node": "over-tls", "api.tokens_file": tokens, "api.tls": fmt.Sprintf("{cert_file: %s, key_file: %s}", cert, key),
	}})
	selfSigned(t, h.ip, cert, key)
	h.serve(t)
	ask := func(token string) (int, error) {
		pool := x509.NewCertPool()
		root, err := os.ReadFile(cert)
		if err != nil {
			return 0, err
		}
		pool.AppendCertsFromPEM(root)
		client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool}}}
		r, err := http.NewRequest("GET", "https://"+h.rest()+"/turncredential", nil)
		if err != nil {
			return 0, err
		}
		r.Header.Set("Authorization", "Bearer "+token)
		response, err := client.Do(r)
		if err != nil {
			return 0, err
		}
		return response.StatusCode, response.Body.Close()
	}
	answers := func(token string, want int) {
		t.Helper()
		realtest.Eventually(t, 20*time.Second, func() error {
			code, err := ask(token)
			if err == nil && code != want {
				err = fmt.Errorf("got %d, want %d", code, want)
			}
			return err
		})
	}
	answers(first, 200)
	answers("", 401)
	realtest.Eventually(t, 20*time.Second, func() error {
		record, _, err := z.Client(t).Get("/turn/servers/over-tls")
		if err == nil && !strings.Contains(string(record), `"restScheme":"https"`) {
			err = errors.New(string(record))
		}
		return err
	})

	second, secondLine, err := transport.NewToken("second")
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, tokens, secondLine+"\n")
	answers(second, 200)
	answers(first, 401)
	h.write(t, tokens, firstLine+"\nsecond\n")
	h.metricIs(t, `turnwarden_file_usable{key="api.tokens_file"}`, "0", 20*time.Second)
	answers(second, 200) // a mistake changes nothing
	answers(first, 401)
	if log := h.tail(); !strings.Contains(log, "line 2: found") || !strings.Contains(log, "stays in force") {
		t.Errorf("the mistake is not in the log:\n%s", log)
	}
	h.write(t, tokens, firstLine+"\n")
	answers(first, 200)

	selfSigned(t, h.ip, cert, key) // ask trusts this one alone from now on
	answers(first, 200)
	for _, key := range []string{"api.tokens_file", "api.tls"} {
		if v := h.metric(t, `turnwarden_file_usable{key="`+key+`"}`); v != "1" {
			t.Errorf("file_usable of %s is %s", key, v)
		}
	}
	if log := h.tail(); strings.Contains(log, first) || strings.Contains(log, second) {
		t.Error("a token is in the log")
	}
}
