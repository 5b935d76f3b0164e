package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/registry"
)

// check adds what a single value cannot show: forms that need more than a kind,
// and keys that contradict one another.
func (d *document) check(c *Node) {
	bad := func(key, found, remedy string) { d.add(d.lines[key], key, found, remedy) }
	if !directory.NodeName(c.Node) {
		bad("node", strconv.Quote(c.Node), "letters, digits, '.', '_' and '-', at most 63, beginning with a letter or digit")
	}
	if c.Credentials.RotateEvery >= c.Credentials.Lifetime {
		bad("credentials.rotate_every", c.Credentials.RotateEvery.String(),
			fmt.Sprintf("less than credentials.lifetime (%v), or a client gets a credential that has already ended", c.Credentials.Lifetime))
	}
	if c.Credentials.Mode == "secret" && c.Credentials.UserDB != "sqlite" {
		bad("credentials.userdb", strconv.Quote(c.Credentials.UserDB), "sqlite in credentials.mode secret, for turnadmin would show the secret that makes every password in its arguments")
	}
	if c.Coturn.RestartDelayMax < c.Coturn.RestartDelay {
		bad("coturn.restart_delay_max", c.Coturn.RestartDelayMax.String(), fmt.Sprintf("at least coturn.restart_delay (%v)", c.Coturn.RestartDelay))
	}
	for _, p := range []struct{ key, value string }{
		{"coturn.turnserver", c.Coturn.Turnserver},
		{"coturn.turnadmin", c.Coturn.Turnadmin},
		{"coturn.config_file", c.Coturn.ConfigFile},
		{"credentials.state_dir", c.Credentials.StateDir},
		{"admin.socket", c.Admin.Socket},
	} {
		if p.value == "" {
			bad(p.key, "nothing", "a path")
		}
	}
	for _, entry := range c.Probe.AllowTargets {
		if _, err := probe.ParseAllow(entry); err != nil {
			bad("probe.allow_targets", strconv.Quote(entry), "HOST or HOST:PORT, an IPv6 address with a port in brackets")
		}
	}
	d.checkInterfaces(c, bad)
	d.checkRegistry(c, bad)
	checkAPI(&c.API, len(c.Registry.ZooKeeper) > 0 && c.Registry.Advertise == "", bad)
}

func (d *document) checkInterfaces(c *Node, bad func(key, found, remedy string)) {
	seen := map[string]bool{}
	for _, name := range c.Traffic.Interface {
		if seen[name] {
			bad("traffic.interface", strconv.Quote(name)+" twice", "each interface once, for they are summed")
		}
		seen[name] = true
	}
	if seen["auto"] && len(seen) > 1 {
		bad("traffic.interface", strconv.Quote(strings.Join(c.Traffic.Interface, ", ")), "auto alone, or names")
	}
	if len(seen) == 0 {
		bad("traffic.interface", "an empty list", "auto, a name, or a list of names")
	}
}

func (d *document) checkRegistry(c *Node, bad func(key, found, remedy string)) {
	r := &c.Registry
	checkZooKeeper(r.ZooKeeper, r.Path, r.TLS, bad)
	if !validZNode(r.PrometheusPath) {
		bad("registry.prometheus_path", strconv.Quote(r.PrometheusPath), acceptedZNode)
	}
	if lock := registry.LockPath(r.Path); r.PrometheusPath == lock {
		bad("registry.prometheus_path", strconv.Quote(r.PrometheusPath), "another path than "+lock+", where nodes queue for their turn to drain")
	}
	if r.Path == r.PrometheusPath {
		bad("registry.prometheus_path", strconv.Quote(r.PrometheusPath), "another path than registry.path, or readers would take one node for the other")
	}
	if r.Advertise != "" {
		if _, err := HostPort(r.Advertise, "1"); err != nil {
			bad("registry.advertise", strconv.Quote(r.Advertise), "host or host:port, an IPv6 address in brackets")
		}
	}
	if r.ACL == "digest" && r.AuthFile == "" {
		bad("registry.acl", `"digest" without registry.auth_file`, "digest together with auth_file, or open")
	}
}

const acceptedZNode = "an absolute ZooKeeper path such as /turn/servers, without a trailing slash"

// checkZooKeeper checks what writers and readers of records share, and completes the servers.
func checkZooKeeper(servers []string, path string, t TLS, bad func(key, found, remedy string)) {
	for i, s := range servers {
		server, err := directory.ParseServer(s)
		if err != nil {
			bad("registry.zookeeper", strconv.Quote(s), err.Error())
			continue
		}
		servers[i] = server
	}
	if !validZNode(path) {
		bad("registry.path", strconv.Quote(path), acceptedZNode)
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		bad("registry.tls", "one of cert_file and key_file", "both, or neither")
	}
}

func validZNode(path string) bool {
	if !strings.HasPrefix(path, "/") || path == "/" {
		return false
	}
	for part := range strings.SplitSeq(path[1:], "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsFunc(part, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
			return false
		}
	}
	return path != "/zookeeper" && !strings.HasPrefix(path, "/zookeeper/")
}

// HostPort takes host, host:port, v6 or [v6]:port, and joins it with the
// default port where it has none.
func HostPort(s, defaultPort string) (string, error) {
	if ip, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return net.JoinHostPort(ip.String(), defaultPort), nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = s, defaultPort
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("port %q", port)
	}
	if host == "" || strings.ContainsAny(host, " /[]\"\\") || strings.Contains(host, ":") && !strings.Contains(s, "[") {
		return "", fmt.Errorf("host %q", host)
	}
	return net.JoinHostPort(host, port), nil
}
