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

func (h *Host) prepareRegistry(logger *slog.Logger) (err error) {
	if len(h.Config.Registry.ZooKeeper) == 0 {
		return nil
	}
	if err := h.findAddress(logger); err != nil {
		return err
	}
	h.Directory, err = h.Config.Directory()
	return err
}

// findAddress resolves what the record advertises.
func (h *Host) findAddress(logger *slog.Logger) (err error) {
	if h.restAddr, err = Advertised(h.Config.Registry.Advertise, h.API.Addr().(*net.TCPAddr).AddrPort(), h.outside); err != nil {
		return err
	}
	if host, _, _ := net.SplitHostPort(h.restAddr); transport.Loopback(host) {
		logger.Warn("the record advertises a loopback address, which no other host can reach; set api.listen or registry.advertise", "address", h.restAddr)
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
