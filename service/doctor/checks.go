package doctor

import (
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"time"
)

func before(v, o [3]int) bool {
	for i := range v {
		if v[i] != o[i] {
			return v[i] < o[i]
		}
	}
	return false
}

// wrong is the check that something known to be wrong, or not, is told with its fix.
func wrong(name string, what func(p Patient) string, fix string) check {
	return check{name, func(p Patient, say say) {
		if found := what(p); found != "" {
			say(Error, found, fix)
		}
	}}
}

// programs are what has to be installed.
var programs = []check{
	wrong("turnserver", func(p Patient) string { return p.Turnserver }, ""),
	wrong("turnadmin", func(p Patient) string { return p.Turnadmin }, ""),
	wrong("sqlite3", func(p Patient) string { return p.SQLite }, ""),
	{"coturn-version", func(p Patient, say say) {
		switch v := p.Version; {
		case v == [3]int{}:
		case before(v, [3]int{4, 6, 3}):
			say(Warning, "coturn "+dotted(v)+" cannot refuse new calls while it drains", "upgrade coturn to 4.6.3 or later when your distribution has it")
		case before(p.Newest, v):
			say(Warning, "coturn "+dotted(v)+" is newer than "+dotted(p.Newest)+", the newest that this turnwarden was tried with", "look for a newer turnwarden; until then compare its counters with turnserver's own")
		}
	}},
	{"coturn-flaws", checkFlaws},
	{"coturn-service", func(p Patient, say say) {
		if p.CoturnService != "" {
			say(Error, p.CoturnService+": systemd starts a turnserver of its own, and the two would share the port", "once its calls have ended: systemctl disable --now "+p.CoturnService+" && systemctl mask "+p.CoturnService)
		}
	}},
}

// readable is what everything else is read from.
var readable = []check{
	{"turnwarden.yml", func(p Patient, say say) {
		for _, e := range p.ConfigErrors {
			say(Error, e, "correct the key; docs/configuration.md has them all")
		}
	}},
	{"turnserver.conf", func(p Patient, say say) {
		for _, e := range p.Conf.Errors {
			say(Error, e, "correct the line")
		}
	}},
}

// configuration is what coturn would pass over, or do for anybody.
var configuration = []check{
	{"turnserver.conf-lines", func(p Patient, say say) {
		for _, w := range p.Conf.Warnings {
			say(Warning, w, "no harm is done while turnwarden runs turnserver; correct or remove the line")
		}
	}},
	{"realm", func(p Patient, say say) {
		if o, ok := p.Conf.option("realm"); !ok || o.Value == "" {
			say(Error, "no realm: every login is refused", "add a line such as realm=turn.example.org", add("realm=turn.example.org"))
		}
	}},
	{"authentication", func(p Patient, say say) {
		_, users := p.Conf.option("lt-cred-mech")
		_, secrets := p.Conf.option("use-auth-secret")
		if !users && !secrets {
			say(Error, "neither lt-cred-mech nor use-auth-secret: the server relays for anybody", "add the line lt-cred-mech", add("lt-cred-mech"))
		}
	}},
	{"no-auth", func(p Patient, say say) {
		for o := range p.Conf.each("no-auth") {
			say(Error, at(p, o)+"the server relays for anybody, whatever the value", "remove the line", remove(o))
		}
	}},
	{"static-credentials", func(p Patient, say say) {
		for o := range p.Conf.each("user", "static-auth-secret") {
			say(Error, at(p, o)+"a credential that works for ever and is never rotated", "remove the line")
		}
	}},
	wrong("userdb", func(p Patient) string { return p.UserDB }, ""),
	{"api-exposed", func(p Patient, say say) {
		if p.APIExposed {
			say(Warning, "api.allow_unauthenticated: anybody who reaches api.listen gets credentials", "set api.tokens_file, api.tls.client_ca_file or api.allow_cidrs instead")
		}
	}},
}

// host is what the machine has to offer.
var host = []check{
	{"open-files", func(p Patient, say say) {
		// Two sockets an allocation at most (even port and its pair), and what the server has itself.
		if need := uint64(2*expected(p) + 200); p.OpenFiles > 0 && p.OpenFiles < need {
			say(Error, fmt.Sprintf("the hard limit of open files is %d, and %d allocations take up to %d", p.OpenFiles, expected(p), need),
				fmt.Sprintf("LimitNOFILE=%d in the unit, or ulimit -Hn", max(need, 65536)))
		}
	}},
	{"udp-buffers", func(p Patient, say say) {
		const want = 4 << 20
		if p.ReceiveBufferMax > 0 && p.ReceiveBufferMax < want {
			say(Warning, fmt.Sprintf("net.core.rmem_max is %d bytes: bursts beyond it are lost before turnserver reads them", p.ReceiveBufferMax),
				fmt.Sprintf("sysctl -w net.core.rmem_max=%d net.core.wmem_max=%[1]d, and the same in /etc/sysctl.d", want))
		}
	}},
	{"clock", func(p Patient, say say) {
		if p.Clock != "" {
			say(Warning, p.Clock+": expiry times that clients are told would be wrong", "install and start chrony or systemd-timesyncd")
		}
	}},
	{"disk", func(p Patient, say say) {
		const want = 64 << 20
		if p.DiskFree > 0 && p.DiskFree < want {
			say(Error, fmt.Sprintf("%s has %d MiB left: state and userdb cannot be written on a full disk, and rotation stops", p.StateDir, p.DiskFree>>20), "make room")
		}
	}},
	wrong("interface", func(p Patient) string { return p.Interface }, "name the interface in traffic.interface"),
	{"capacity", func(p Patient, say say) {
		if p.Capacity == "" {
			return
		}
		severity := Error
		if p.Standalone {
			severity = Warning // nothing depends on it
		}
		say(severity, p.Capacity, "set traffic.capacity_mbps")
	}},
}

// expected is how many allocations this host is to hold: its quota, or else one for each
// megabit of its capacity, which is a small video call.
func expected(p Patient) int {
	if o, ok := p.Conf.option("total-quota"); ok {
		if n := number(o.Value); n > 0 {
			return n
		}
	}
	return int(p.CapacityMbps)
}

func number(s string) (n int) {
	_, _ = fmt.Sscanf(s, "%d", &n) // what is no number has its own finding
	return n
}

// network is how others reach this host.
var network = []check{
	wrong("ports", func(p Patient) string { return p.Ports }, "stop that server, or give one of the two another listening-port"),
	wrong("addresses", func(p Patient) string { return p.Addresses }, "name addresses that `ip addr` shows"),
	{"relay-range", func(p Patient, say say) {
		first, last := 49152, 65535
		if o, ok := p.Conf.option("min-port"); ok {
			first = number(o.Value)
		}
		if o, ok := p.Conf.option("max-port"); ok {
			last = number(o.Value)
		}
		if ports := last - first + 1; ports < expected(p) {
			say(Warning, fmt.Sprintf("%d relay ports (%d to %d) for %d allocations: 508 comes before the link is full", ports, first, last, expected(p)), "widen min-port to max-port, in the firewall too")
		}
	}},
	{"external-address", func(p Patient, say say) {
		for _, a := range p.ExternalIPs {
			if inner(a) {
				say(Error, fmt.Sprintf("external-ip=%s is an address that no client outside can reach", a), "give the public address, as PUBLIC or PUBLIC/PRIVATE")
			}
		}
		if len(p.ExternalIPs) > 0 {
			return
		}
		addrs := p.RelayIPs
		if len(addrs) == 0 && p.DefaultSource.IsValid() {
			addrs = []netip.Addr{p.DefaultSource}
		}
		for _, a := range addrs {
			if inner(a) && !a.IsLoopback() {
				say(Warning, fmt.Sprintf("clients are told to send to %s, which only the inner network reaches, and there is no external-ip", a),
					fmt.Sprintf("behind a NAT add external-ip=PUBLIC/%s", a))
				return
			}
		}
	}},
	wrong("zookeeper", func(p Patient) string { return p.ZooKeeper }, "correct registry.zookeeper, or open the way to its port"),
	wrong("zookeeper-acl", func(p Patient) string { return p.ZooKeeperWrite }, "correct registry.auth_file, or the ACLs of registry.path"),
	{"advertised", func(p Patient, say say) {
		if a, err := netip.ParseAddr(p.Advertised); !p.Standalone && (p.Advertised == "localhost" || err == nil && a.IsLoopback()) {
			say(Warning, "the record tells signalling servers to ask "+p.Advertised+", which is themselves", "set api.listen or registry.advertise")
		}
	}},
	{"certificate", func(p Patient, say say) {
		c := p.Certificate
		switch {
		case c == nil:
		case c.Err != "":
			say(Error, c.Path+": "+c.Err+"; turnserver starts without TLS", "correct cert and pkey in turnserver.conf")
		case c.NotAfter.Before(p.Now):
			say(Error, fmt.Sprintf("%s expired on %s: clients of turns: are refused by themselves", c.Path, c.NotAfter.Format(time.DateOnly)), "renew it")
		case c.NotAfter.Before(p.Now.Add(14 * 24 * time.Hour)):
			say(Warning, fmt.Sprintf("%s expires on %s", c.Path, c.NotAfter.Format(time.DateOnly)), "renew it; turnserver reads it again by turnwarden reload")
		}
	}},
	{"certificate-name", func(p Patient, say say) {
		if c := p.Certificate; c != nil && len(c.NotFor) > 0 {
			say(Warning, fmt.Sprintf("%s does not name %s, which clients of turns: are told to connect to: browsers refuse it", c.Path, strings.Join(c.NotFor, " and ")),
				"set registry.advertise to a name of this host that the certificate has, or put the address into the certificate")
		}
	}},
}

func inner(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || netip.MustParsePrefix("100.64.0.0/10").Contains(a)
}

// files are the secrets on disk.
var files = []check{
	{"secret-files", func(p Patient, say say) {
		for _, f := range p.Secrets {
			open := fs.FileMode(0o027) // a group that may read is somebody's choice
			if f.Mode.IsDir() {
				open = 0o022
			}
			if f.Mode.Perm()&open != 0 {
				say(Error, fmt.Sprintf("%s %s has mode %04o: others can read or replace it", f.What, f.Path, f.Mode.Perm()), "chmod "+mended(f.Mode)+" "+f.Path)
			}
		}
	}},
	{"readable-files", func(p Patient, say say) {
		for _, f := range p.Secrets {
			if f.Unreadable != "" {
				say(Error, f.What+" "+f.Path+": "+f.Unreadable, "give it to that user or its group")
			}
		}
	}},
	{"passwords-in-conf", func(p Patient, say say) {
		for _, o := range p.Conf.Options {
			if strings.Contains(o.Value, "password=") {
				say(Warning, at(p, o)+"a password, which coturn prints in its log at the start (4.6.1)", "remove the line where it is not used")
			}
		}
	}},
}

func mended(m fs.FileMode) string {
	if m.IsDir() {
		return "0711"
	}
	return fmt.Sprintf("%04o", m.Perm()&0o740)
}
