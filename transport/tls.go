package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
)

// TLS is the server's side of TLS, whose certificates may be replaced while it serves.
type TLS struct{ current atomic.Pointer[tls.Config] }

// Replace takes a certificate with its key and, for clients that have to show one of
// their own, the authorities whom that is believed (nil = clients show none). New
// connections are made with these.
func (t *TLS) Replace(certificate, key, clientCA []byte) error {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return fmt.Errorf("cert_file and key_file: %w", err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if clientCA != nil {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		if !c.ClientCAs.AppendCertsFromPEM(clientCA) {
			return errors.New("client_ca_file: found no PEM certificate")
		}
	}
	t.current.Store(c)
	return nil
}

// names says whether the certificate is one of that host.
func (t *TLS) names(host string) bool {
	c := t.current.Load()
	return c != nil && c.Certificates[0].Leaf.VerifyHostname(host) == nil
}

// Config is for a listener.
func (t *TLS) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return t.current.Load(), nil
	}}
}
