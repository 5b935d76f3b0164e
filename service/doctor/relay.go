package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// refused are the peers that no client has business with: through them a TURN server is a
// way into the network it stands in (RFC 8656, 21.1; CVE-2020-26262 for loopback). since is
// the first coturn that refuses them by itself.
var refused = []struct {
	name     string
	why      string
	severity Severity
	since    [3]int
	prefixes []string
}{
	{
		"denied-private", "clients reach the hosts of the private network behind this one", Error,
		[3]int{},
		[]string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"},
	},
	{
		"denied-loopback", "clients reach what listens on this host's loopback", Error,
		[3]int{}, // see allow-loopback-peers
		[]string{"127.0.0.0/8", "0.0.0.0/8"},
	},
	{
		"denied-metadata", "clients reach the cloud's metadata service, which hands out the keys of this machine", Error,
		[3]int{4, 13, 1},
		[]string{"169.254.169.254/32"},
	},
	{
		"denied-link-local", "clients reach the neighbours on the link", Warning,
		[3]int{4, 13, 1},
		[]string{"169.254.0.0/16", "fe80::/10"},
	},
	{
		"denied-shared", "clients reach the provider's inner network (RFC 6598)", Warning,
		[3]int{},
		[]string{"100.64.0.0/10"},
	},
	{
		"denied-unique-local", "clients reach the hosts of the private IPv6 network", Warning,
		[3]int{4, 13, 1},
		[]string{"fc00::/7"},
	},
	{
		"denied-mapped", "IPv4 addresses in IPv6 clothes pass by the rules for IPv4", Warning,
		[3]int{},
		[]string{"::ffff:0:0/96", "64:ff9b::/96", "2002::/16"},
	},
	{
		"denied-reserved", "clients reach addresses that are nobody's on the Internet", Warning,
		[3]int{},
		[]string{"192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4"},
	},
}

// relay is what clients may do with the server.
var relay = append(deniedChecks(), []check{
	{"loopback-peers", func(p Patient, say say) {
		for o := range p.Conf.each("allow-loopback-peers") {
			say(Error, at(p, o)+"clients reach what listens on this host's loopback: coturn's own CLI, databases, this program",
				"remove the line", remove(o))
		}
	}},
	{"multicast-peers", func(p Patient, say say) {
		if _, ok := p.Conf.option("no-multicast-peers"); !ok {
			say(Warning, "clients may send to multicast groups", "add the line no-multicast-peers", add("no-multicast-peers"))
		}
	}},
	{"own-address", func(p Patient, say say) {
		denied, allowed := p.Conf.spans("denied-peer-ip"), p.Conf.spans("allowed-peer-ip")
		for _, a := range slices.Concat(p.ExternalIPs, p.RelayIPs) {
			if own := (span{a, a}); !inner(a) && covered(own, denied) && !covered(own, allowed) {
				say(Warning, fmt.Sprintf("%s is this server's own relay address and denied as a peer: two clients that both relay here cannot reach each other (coturn#584)", a),
					"add the line allowed-peer-ip="+a.String(), add("allowed-peer-ip="+a.String()))
				return
			}
		}
	}},
	{"quota", func(p Patient, say say) {
		if o, ok := p.Conf.option("total-quota"); !ok || o.Value == "0" {
			say(Warning, "no total-quota: one client with a credential can take every relay port", "add a line such as total-quota=1200", add("total-quota=1200"))
		}
	}},
	{"bandwidth", func(p Patient, say say) {
		if o, ok := p.Conf.option("max-bps"); !ok || o.Value == "0" {
			say(Warning, "no max-bps: one call can take the whole link", "add a line such as max-bps=3000000 (bytes/s per session)", add("max-bps=3000000"))
		}
	}},
	{"tcp-relay", func(p Patient, say say) {
		if _, ok := p.Conf.option("no-tcp-relay"); !ok {
			say(Warning, "TCP relaying (RFC 6062) is on, which WebRTC never uses and port scanners like", "add the line no-tcp-relay", add("no-tcp-relay"))
		}
	}},
	{"cli", func(p Patient, say say) {
		if o, ok := p.Conf.option("cli-ip"); ok {
			if a, err := netip.ParseAddr(o.Value); err != nil || !a.IsLoopback() {
				say(Error, at(p, o)+"the telnet CLI would be open to other hosts; turnwarden leaves the line out, whatever else starts turnserver does not",
					"remove the line", remove(o))
			}
		}
	}},
}...)

func deniedChecks() []check {
	var checks []check
	for _, r := range refused {
		checks = append(checks, check{r.name, func(p Patient, say say) {
			if r.since != [3]int{} && !before(p.Version, r.since) {
				return
			}
			denied := p.Conf.spans("denied-peer-ip")
			var open []string
			var edits []edit
			for _, text := range r.prefixes {
				want := prefixSpan(netip.MustParsePrefix(text))
				if !covered(want, denied) {
					open = append(open, text)
					edits = append(edits, add(fmt.Sprintf("denied-peer-ip=%s-%s", want.from, want.to)))
				}
			}
			if len(open) > 0 {
				say(r.severity, "relaying to "+strings.Join(open, ", ")+" is not denied: "+r.why, "add the denied-peer-ip lines below", edits...)
			}
		}})
	}
	return checks
}

func at(p Patient, o Option) string { return fmt.Sprintf("%s:%d: %s: ", p.Conf.Path, o.Line, o.Name) }
