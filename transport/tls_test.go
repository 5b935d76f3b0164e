package transport_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/transport"
)

// authority signs certificates of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

func (a *authority) sign(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, &k.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})
}

// over asks on a connection of its own and says whose certificate was shown.
func over(t *testing.T, addr string, trusted *authority, client ...tls.Certificate) (server string, err error) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(trusted.cert)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: client}, DisableKeepAlives: true}
	response, err := (&http.Client{Transport: tr, Timeout: 30 * time.Second}).Get("https://" + addr + "/turncredential")
	if err != nil {
		return "", err
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK || response.ProtoMajor != 1 {
		t.Errorf("got %s %s", response.Proto, response.Status)
	}
	return response.TLS.PeerCertificates[0].Subject.CommonName, nil
}

func TestTLS(t *testing.T) {
	ca, foreign := newAuthority(t, "ca"), newAuthority(t, "foreign")
	first, firstKey := ca.sign(t, "first")
	second, secondKey := ca.sign(t, "second")
	var side transport.TLS
	if err := side.Replace(first, firstKey, nil); err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: api(good), ReadHeaderTimeout: time.Minute}
	done := make(chan error, 1)
	go func() { done <- s.Serve(tls.NewListener(l, side.Config())) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	addr := l.Addr().String()
	if got, err := over(t, addr, ca); got != "first" || err != nil {
		t.Errorf("first: %q, %v", got, err)
	}
	if err := side.Replace(second, firstKey, nil); err == nil || !strings.Contains(err.Error(), "cert_file and key_file") {
		t.Errorf("a key of another certificate: %v", err)
	}
	if err := side.Replace(second, secondKey, []byte("nothing")); err == nil || !strings.Contains(err.Error(), "client_ca_file") {
		t.Errorf("no authority: %v", err)
	}
	if got, err := over(t, addr, ca); got != "first" || err != nil {
		t.Errorf("after mistakes: %q, %v", got, err)
	}
	if err := side.Replace(second, secondKey, ca.pem); err != nil {
		t.Fatal(err)
	}
	pair := func(a *authority) tls.Certificate {
		cert, key := a.sign(t, "client")
		p, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if got, err := over(t, addr, ca, pair(ca)); got != "second" || err != nil {
		t.Errorf("a client of ours: %q, %v", got, err)
	}
	if _, err := over(t, addr, ca); err == nil {
		t.Error("a client without a certificate was answered")
	}
	if _, err := over(t, addr, ca, pair(foreign)); err == nil {
		t.Error("a client with a foreign certificate was answered")
	}
	if err := side.Replace(first, firstKey, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := over(t, addr, ca); got != "first" || err != nil {
		t.Errorf("without client_ca_file again: %q, %v", got, err)
	}
}
