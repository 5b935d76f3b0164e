package directory_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/kit/metrics/discard"
	"go.uber.org/goleak"

	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/realtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newSession returns one that does not run yet.
func newSession(cfg directory.Config) *directory.Session {
	return directory.New(cfg, slog.New(slog.DiscardHandler), directory.Metrics{Operations: discard.NewCounter(), Failures: discard.NewCounter()})
}

// start runs a session until the test ends or end is called.
func start(t *testing.T, s *directory.Session) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
	})
	t.Cleanup(end)
	return end
}

// run keeps a session until the test ends.
func run(t *testing.T, cfg directory.Config) *directory.Session {
	t.Helper()
	s := newSession(cfg)
	start(t, s)
	return s
}

func never(_, _ []byte) bool { return false }

func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ip := realtest.Loopback(t)
	trust, server, client := certificates(t, dir, ip)
	port := realtest.FreePort(t, ip)
	z := realtest.StartZooKeeper(t,
		fmt.Sprintf("secureClientPort=%d", port), "secureClientPortAddress="+ip,
		"serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
		"ssl.keyStore.location="+server, "ssl.keyStore.type=PEM",
		"ssl.trustStore.location="+filepath.Join(dir, "ca.pem"), "ssl.trustStore.type=PEM",
		"ssl.clientAuth=need",
		"authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider")
	cfg := directory.Config{
		Servers: []string{net.JoinHostPort(ip, fmt.Sprint(port))}, SessionTimeout: 4 * time.Second, ACL: directory.ACLOpen,
	}
	for name, test := range map[string]struct {
		tls *tls.Config
		err string
	}{
		"our certificate":    {&tls.Config{RootCAs: trust, Certificates: []tls.Certificate{client}}, ""},
		"no certificate":     {&tls.Config{RootCAs: trust}, "certificate"},
		"another name":       {&tls.Config{RootCAs: trust, Certificates: []tls.Certificate{client}, ServerName: "other.example"}, "other.example"},
		"unknown authority":  {&tls.Config{RootCAs: x509.NewCertPool(), Certificates: []tls.Certificate{client}}, "unknown authority"},
		"plain TCP to TLS":   {nil, "EOF"},
		"TLS to a plain TCP": {&tls.Config{RootCAs: trust}, "TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := cfg
			cfg.TLS = test.tls
			if name == "TLS to a plain TCP" {
				cfg.Servers = []string{z.Addr()}
			}
			s := run(t, cfg)
			realtest.Eventually(t, 20*time.Second, func() error {
				status := s.Status()
				ok := status.State == directory.Connected
				if test.err != "" {
					ok = status.State == directory.Connecting && strings.Contains(status.LastError, test.err)
				}
				if !ok {
					return fmt.Errorf("status %+v, want error %q", status, test.err)
				}
				return nil
			})
			if test.err == "" {
				if err := s.Node("/secured", never).Put([]byte("x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// certificates makes an authority, a server certificate for ip, and a client's.
func certificates(t *testing.T, dir, ip string) (trust *x509.CertPool, serverFile string, client tls.Certificate) {
	t.Helper()
	now := time.Now()
	issue := func(serial int64, cn string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, []byte, []byte) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: cn}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
			IsCA: parent == nil, BasicConstraintsValid: true, IPAddresses: []net.IP{net.ParseIP(ip)},
		}
		if parent == nil {
			parent, parentKey = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), parentKey)
		if err != nil {
			t.Fatal(err)
		}
		pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		c, err = x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	}
	ca, caKey, caPEM, _ := issue(1, "test authority", nil, nil)
	_, _, certPEM, keyPEM := issue(2, "zookeeper", ca, caKey)
	_, _, clientPEM, clientKeyPEM := issue(3, "turn-1", ca, caKey)
	client, err := tls.X509KeyPair(clientPEM, clientKeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	serverFile = filepath.Join(dir, "server.pem")
	for file, content := range map[string][]byte{serverFile: append(keyPEM, certPEM...), filepath.Join(dir, "ca.pem"): caPEM} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trust = x509.NewCertPool()
	trust.AddCert(ca)
	return trust, serverFile, client
}

// TestHungWrite covers a server that takes everything in and answers nothing: the
// writer is free within the session timeout, and writes again when the server does.
func TestHungWrite(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	s := run(t, directory.Config{Servers: []string{z.Addr()}, SessionTimeout: 10 * time.Second, ACL: directory.ACLOpen})
	n := s.Node("/n", never)
	realtest.Eventually(t, 20*time.Second, func() error { return n.Put([]byte("1")) })
	z.Pause()
	pace := realtest.NewPace()
	if err := n.Put([]byte("2")); err == nil {
		t.Error("a write to a hung ZooKeeper succeeded")
	}
	pace.Within(t, 10*time.Second+500*time.Millisecond, "a write to a hung ZooKeeper failed")
	z.Cont()
	realtest.Eventually(t, 20*time.Second, func() error { return n.Put([]byte("3")) })
	if data, _, err := z.Client(t).Get("/n"); err != nil || string(data) != "3" || !n.Held() {
		t.Errorf("the node holds %q (%v), want 3", data, err)
	}
}
