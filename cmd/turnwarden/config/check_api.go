package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/turnwarden/turnwarden/transport"
)

// checkAPI: an address that others can reach needs something that tells callers apart,
// and one that is published has to be known beforehand.
func checkAPI(a *API, published bool, bad func(key, found, remedy string)) {
	host, port, err := net.SplitHostPort(a.Listen)
	number, portErr := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil || portErr != nil:
		bad("api.listen", strconv.Quote(a.Listen), "address:port, such as 127.0.0.1:13478")
	case number == 0 && published:
		bad("api.listen", strconv.Quote(a.Listen), "a fixed port, or registry.advertise, for the address is published in ZooKeeper")
	case !a.guarded() && !a.AllowUnauthenticated && !transport.Loopback(host):
		bad("api.listen", strconv.Quote(a.Listen),
			"a loopback address; on any other address whoever can reach it gets TURN credentials: set api.tokens_file, api.tls.client_ca_file or api.allow_cidrs, or api.allow_unauthenticated: true if a firewall keeps strangers out")
	}
	if (a.TLS.CertFile == "") != (a.TLS.KeyFile == "") {
		bad("api.tls", "one of cert_file and key_file", "both, or neither")
	}
	if a.TLS.ClientCAFile != "" && a.TLS.CertFile == "" {
		bad("api.tls.client_ca_file", strconv.Quote(a.TLS.ClientCAFile)+" without cert_file", "client_ca_file together with cert_file and key_file, for only over TLS a client can show a certificate")
	}
	checkPrefixes("api.allow_cidrs", a.AllowCIDRs, bad)
	checkPrefixes("api.trusted_proxies", a.TrustedProxies, bad)
	for _, s := range a.Hosts {
		if !hostName.MatchString(s) {
			bad("api.hosts", strconv.Quote(s), "names such as turn.example.org, without a port")
		}
	}
	for _, s := range a.CORSOrigins {
		if u, err := url.Parse(s); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || strings.Contains(u.Host, "*") || s != u.Scheme+"://"+u.Host {
			bad("api.cors_origins", strconv.Quote(s), "origins such as https://app.example.org, each by its name and without a path")
		}
	}
}

// hostName is what DNS allows, and what has to be in it besides digits and dots.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?$`)

func checkPrefixes(key string, list []string, bad func(key, found, remedy string)) {
	for _, s := range list {
		if _, err := parsePrefix(s); err != nil {
			bad(key, strconv.Quote(s), "addresses such as 192.0.2.1 or 2001:db8::/64, without bits behind the prefix")
		}
	}
}

// Prefixes are those of a list that was checked with the configuration.
func Prefixes(list []string) (all []netip.Prefix) {
	for _, s := range list {
		p, _ := parsePrefix(s)
		all = append(all, p)
	}
	return all
}

// parsePrefix takes an address or a prefix in CIDR notation.
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("parse prefix: %w", err)
	}
	if p != p.Masked() || p.Addr().Is4In6() {
		return p, fmt.Errorf("bits behind the prefix of %s", s)
	}
	return p, nil
}

// guarded says whether something tells callers apart.
func (a API) guarded() bool {
	return a.TokensFile != "" || a.TLS.ClientCAFile != "" || len(a.AllowCIDRs) > 0
}

// Exposed says whether others than this host get credentials without being told apart.
func (a API) Exposed() bool {
	host, _, _ := net.SplitHostPort(a.Listen)
	return a.AllowUnauthenticated && !transport.Loopback(host) && !a.guarded()
}
