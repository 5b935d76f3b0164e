package host

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/cmd/turnwarden/handover"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestOpenAPIMistakes: each is one line that names the key, the file and what to do.
func TestOpenAPIMistakes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, key := realtest.Certificate(t, "127.0.0.1", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]struct {
		cfg  config.API
		want []string
	}{
		"a mistake in the tokens": {config.API{TokensFile: write("tokens", "# callers\nalice K3Y\n")}, []string{"api.tokens_file", "tokens", "line 2", "turnwarden token alice"}},
		"no tokens":               {config.API{TokensFile: "/nowhere/tokens"}, []string{"api.tokens_file", "/nowhere/tokens"}},
		"key and certificate": {
			config.API{TLS: config.ServerTLS{CertFile: cert, KeyFile: write("other.pem", "no key")}},
			[]string{"api.tls", "cert_file and key_file", "other.pem"},
		},
		"no authority":  {config.API{TLS: config.ServerTLS{CertFile: cert, KeyFile: key, ClientCAFile: write("ca.pem", "no authority")}}, []string{"api.tls", "client_ca_file", "no PEM certificate"}},
		"address taken": {config.API{Listen: taken.Addr().String()}, []string{"api.listen", "address already in use"}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.cfg.Listen == "" {
				c.cfg.Listen = "127.0.0.1:0"
			}
			_, err := OpenAPI(t.Context(), c.cfg, "", new(handover.Inherited), slog.New(slog.DiscardHandler))
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) || strings.Contains(err.Error(), "K3Y") || strings.Contains(err.Error(), "\n") {
					t.Errorf("no %q in: %v", w, err)
				}
			}
		})
	}
}
