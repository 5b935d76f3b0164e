package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
)

// checkGateway is check for the file of a gateway.
func (d *document) checkGateway(c *Gateway) {
	bad := func(key, found, remedy string) { d.add(d.lines[key], key, found, remedy) }
	if len(c.Registry.ZooKeeper) == 0 {
		bad("registry.zookeeper", "nothing", "the ZooKeeper servers where the nodes are registered")
	}
	checkZooKeeper(c.Registry.ZooKeeper, c.Registry.Path, c.Registry.TLS, bad)
	g := &c.Gateway
	if g.Zone != "" && g.Region == "" {
		bad("gateway.zone", strconv.Quote(g.Zone)+" without gateway.region", "zone together with region, for zones of two regions may have one name")
	}
	if g.AgentListen != "" {
		_, port, err := net.SplitHostPort(g.AgentListen)
		if _, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil {
			bad("gateway.agent_listen", strconv.Quote(g.AgentListen), "address:port, such as 127.0.0.1:13482")
		}
	}
	if (g.Node.CertFile == "") != (g.Node.KeyFile == "") {
		bad("gateway.node", "one of cert_file and key_file", "both, or neither")
	}
	if g.Node.InsecureHTTP && g.Node.TokenFile == "" {
		bad("gateway.node.insecure_http", "true without gateway.node.token_file", "insecure_http together with token_file, for it is about the token")
	}
	if g.Node.TokenFile != "" && len(g.Node.Hosts) == 0 {
		bad("gateway.node.token_file", strconv.Quote(g.Node.TokenFile)+" without gateway.node.hosts",
			"token_file together with hosts, the names, addresses or prefixes of the nodes, for whoever can write a record could have the token shown to a host of his own")
	}
	if _, _, wrong := SplitHosts(g.Node.Hosts); wrong != "" {
		bad("gateway.node.hosts", strconv.Quote(wrong), "names such as turn-1.example.org, addresses and prefixes such as 10.20.0.0/16, without a port")
	}
	checkPrefixes("gateway.node.allow_cidrs", g.Node.AllowCIDRs, bad)
	checkAPI(&c.API, false, bad)
}

// SplitHosts tells names from addresses and prefixes; wrong is the first that is neither.
func SplitHosts(list []string) (names []string, prefixes []netip.Prefix, wrong string) {
	for _, s := range list {
		if p, err := parsePrefix(s); err == nil {
			prefixes = append(prefixes, p)
		} else if hostName.MatchString(s) && strings.ContainsFunc(s, unicode.IsLetter) {
			names = append(names, s)
		} else if wrong == "" {
			wrong = s
		}
	}
	return names, prefixes, wrong
}
