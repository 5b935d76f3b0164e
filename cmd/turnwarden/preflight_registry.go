package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"github.com/turnwarden/turnwarden/service/directory"
)

func (s *site) prepareRegistry(cfg Config, logger *slog.Logger) (err error) {
	r := cfg.Registry
	if len(r.ZooKeeper) == 0 {
		return nil
	}
	if s.restAddr, err = advertised(r.Advertise, s.api.Addr().(*net.TCPAddr).AddrPort(), s.outside); err != nil {
		return err
	}
	if host, _, _ := net.SplitHostPort(s.restAddr); loopback(host) {
		logger.Warn("the record advertises a loopback address, which no other host can reach; set api.listen or registry.advertise", "rest_addr", s.restAddr)
	}
	s.directory, err = directoryConfig(cfg)
	return err
}

// directoryConfig is how ZooKeeper is reached.
func directoryConfig(cfg Config) (_ directory.Config, err error) {
	r := cfg.Registry
	d := directory.Config{
		Servers: r.ZooKeeper, SessionTimeout: r.SessionTimeout, ACL: r.ACL,
		StateFile: filepath.Join(cfg.Credentials.StateDir, "zookeeper-sessions"),
	}
	if r.AuthFile != "" {
		content, err := os.ReadFile(r.AuthFile)
		if err == nil {
			d.Auth, err = directory.ParseAuth(content)
		}
		if err != nil {
			return d, fmt.Errorf("registry.auth_file %s: %w", r.AuthFile, err)
		}
	}
	if r.TLS.enabled() {
		if d.TLS, err = clientTLS(r.TLS); err != nil {
			return d, fmt.Errorf("registry.tls: %w", err)
		}
	}
	return d, nil
}

// advertised is the restAddr of the record.
func advertised(configured string, api netip.AddrPort, outside netip.Addr) (string, error) {
	port := strconv.Itoa(int(api.Port()))
	switch {
	case configured != "":
		return splitHostPort(configured, port)
	case !api.Addr().Unmap().IsUnspecified():
		return net.JoinHostPort(api.Addr().Unmap().String(), port), nil
	case outside.IsValid():
		return net.JoinHostPort(outside.String(), port), nil
	}
	return "", errors.New("registry.advertise: api.listen is a wildcard and this host has no default route to take an address from; set registry.advertise")
}

func clientTLS(t TLSConfig) (*tls.Config, error) {
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
