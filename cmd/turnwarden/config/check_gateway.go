package config

import (
	"net"
	"strconv"
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
	checkPrefixes("gateway.node.allow_cidrs", g.Node.AllowCIDRs, bad)
	checkAPI(&c.API, false, bad)
}
