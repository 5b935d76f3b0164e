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
	"time"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/transport"
)

func (s *site) prepareRegistry(cfg config.Node, logger *slog.Logger) (err error) {
	if len(cfg.Registry.ZooKeeper) == 0 {
		return nil
	}
	if err := s.findAddress(cfg, logger); err != nil {
		return err
	}
	s.directory, err = directoryConfig(cfg)
	return err
}

// findAddress resolves what the record advertises.
func (s *site) findAddress(cfg config.Node, logger *slog.Logger) (err error) {
	if s.restAddr, err = advertised(cfg.Registry.Advertise, s.api.Addr().(*net.TCPAddr).AddrPort(), s.outside); err != nil {
		return err
	}
	if host, _, _ := net.SplitHostPort(s.restAddr); transport.Loopback(host) {
		logger.Warn("the record advertises a loopback address, which no other host can reach; set api.listen or registry.advertise", "address", s.restAddr)
	}
	return nil
}

// directoryConfig is how a node reaches ZooKeeper.
func directoryConfig(cfg config.Node) (directory.Config, error) {
	r := cfg.Registry
	c, err := sessionConfig(r.ZooKeeper, r.SessionTimeout, r.AuthFile, r.TLS)
	c.ACL, c.StateFile = r.ACL, filepath.Join(cfg.Credentials.StateDir, "zookeeper-sessions")
	return c, err
}

// sessionConfig reads the files that a session with ZooKeeper needs.
func sessionConfig(servers []string, timeout time.Duration, authFile string, t config.TLS) (c directory.Config, err error) {
	c = directory.Config{Servers: servers, SessionTimeout: timeout, ACL: directory.ACLOpen}
	if authFile != "" {
		content, err := os.ReadFile(authFile)
		if err == nil {
			c.Auth, err = directory.ParseAuth(content)
		}
		if err != nil {
			return c, fmt.Errorf("registry.auth_file %s: %w", authFile, err)
		}
	}
	if t.Enabled() {
		if c.TLS, err = clientTLS(t); err != nil {
			return c, fmt.Errorf("registry.tls: %w", err)
		}
	}
	return c, nil
}

// advertised is the restAddr of the record.
func advertised(configured string, api netip.AddrPort, outside netip.Addr) (string, error) {
	port := strconv.Itoa(int(api.Port()))
	switch {
	case configured != "":
		return config.HostPort(configured, port)
	case !api.Addr().Unmap().IsUnspecified():
		return net.JoinHostPort(api.Addr().Unmap().String(), port), nil
	case outside.IsValid():
		return net.JoinHostPort(outside.String(), port), nil
	}
	return "", errors.New("registry.advertise: api.listen is a wildcard and this host has no default route to take an address from; set registry.advertise")
}

// tlsName is the name that stands in turns: URIs: the one that is advertised for this
// host, if the certificate has it too. Without one clients get addresses, which few
// certificates name.
func tlsName(conf *coturn.Conf, advertise string) string {
	host, _, err := net.SplitHostPort(advertise)
	if err != nil {
		host = advertise
	}
	pair, err := tls.LoadX509KeyPair(conf.Cert, conf.Key)
	if _, notIP := netip.ParseAddr(host); err != nil || notIP == nil || host == "" || pair.Leaf.VerifyHostname(host) != nil {
		return ""
	}
	return host
}

func clientTLS(t config.TLS) (*tls.Config, error) {
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
