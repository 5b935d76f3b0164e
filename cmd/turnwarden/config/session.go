package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"

	"github.com/turnwarden/turnwarden/service/directory"
)

// Session is how ZooKeeper is reached; it reads the files that are named for that.
func (r FleetRegistry) Session() (c directory.Config, err error) {
	c = directory.Config{Servers: r.ZooKeeper, SessionTimeout: r.SessionTimeout, ACL: directory.ACLOpen}
	if r.AuthFile != "" {
		content, err := os.ReadFile(r.AuthFile)
		if err == nil {
			c.Auth, err = directory.ParseAuth(content)
		}
		if err != nil {
			return c, fmt.Errorf("registry.auth_file %s: %w", r.AuthFile, err)
		}
	}
	if r.TLS.Enabled() {
		if c.TLS, err = r.TLS.Client(); err != nil {
			return c, fmt.Errorf("registry.tls: %w", err)
		}
	}
	return c, nil
}

// Session is how a reader of records reaches ZooKeeper.
func (r Registry) Session() (directory.Config, error) {
	return FleetRegistry{ZooKeeper: r.ZooKeeper, SessionTimeout: r.SessionTimeout, AuthFile: r.AuthFile, TLS: r.TLS}.Session()
}

// Directory is how a node reaches ZooKeeper, where it writes.
func (n Node) Directory() (directory.Config, error) {
	c, err := n.Registry.Session()
	c.ACL, c.StateFile = n.Registry.ACL, filepath.Join(n.Credentials.StateDir, "zookeeper-sessions")
	return c, err
}

// Client reads the files of a TLS client.
func (t TLS) Client() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: no PEM certificate in %s", t.CAFile)
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("cert_file and key_file: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
