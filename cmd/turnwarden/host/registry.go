package host

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strconv"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/transport"
)

func (s *Host) prepareRegistry(logger *slog.Logger) (err error) {
	if len(s.Config.Registry.ZooKeeper) == 0 {
		return nil
	}
	if err := s.findAddress(logger); err != nil {
		return err
	}
	s.Directory, err = s.Config.Directory()
	return err
}

// findAddress resolves what the record advertises.
func (s *Host) findAddress(logger *slog.Logger) (err error) {
	if s.restAddr, err = Advertised(s.Config.Registry.Advertise, s.API.Addr().(*net.TCPAddr).AddrPort(), s.outside); err != nil {
		return err
	}
	if host, _, _ := net.SplitHostPort(s.restAddr); transport.Loopback(host) {
		logger.Warn("the record advertises a loopback address, which no other host can reach; set api.listen or registry.advertise", "address", s.restAddr)
	}
	return nil
}

// Advertised is the restAddr of the record.
func Advertised(configured string, api netip.AddrPort, outside netip.Addr) (string, error) {
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

// TLSName is the name that stands in turns: URIs: the one that is advertised for this
// host, if the certificate has it too. Without one clients get addresses, which few
// certificates name.
func TLSName(conf *coturn.Conf, advertise string) string {
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
