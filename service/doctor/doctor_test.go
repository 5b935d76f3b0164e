package doctor_test

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/doctor"
)

var now = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// wellKept is a turnserver.conf without a finding.
const wellKept = `# comments stay
lt-cred-mech
realm=turn.example.org
listening-ip=192.0.2.1
total-quota=1200
max-bps=3000000
min-port=50000
max-port=59999
no-tcp-relay
no-multicast-peers
denied-peer-ip=0.0.0.0-0.255.255.255
denied-peer-ip=10.0.0.0-10.255.255.255
denied-peer-ip=100.64.0.0-100.127.255.255
denied-peer-ip=127.0.0.0-127.255.255.255
denied-peer-ip=169.254.0.0-169.254.255.255
denied-peer-ip=172.16.0.0-172.31.255.255
denied-peer-ip=192.0.0.0-192.0.0.255
denied-peer-ip=192.168.0.0-192.168.255.255
denied-peer-ip=198.18.0.0-198.19.255.255
denied-peer-ip=240.0.0.0-255.255.255.255
denied-peer-ip=fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
denied-peer-ip=fe80::-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff
denied-peer-ip=::ffff:0:0-::ffff:ffff:ffff
denied-peer-ip=64:ff9b::-64:ff9b::ffff:ffff
denied-peer-ip=2002::-2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff
`

// healthy is a host without a finding.
func healthy() doctor.Patient {
	return doctor.Patient{
		Now: now, Version: [3]int{4, 18, 0}, Newest: [3]int{4, 18, 0}, Conf: conf(wellKept),
		CapacityMbps: 1000, OpenFiles: 1 << 20, ReceiveBufferMax: 8 << 20, DiskFree: 1 << 30, StateDir: "/var/lib/turnwarden",
		Advertised: "192.0.2.1", RelayIPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		Certificate: &doctor.Certificate{Path: "/etc/turn.pem", NotAfter: now.AddDate(0, 2, 0)},
		Secrets:     []doctor.SecretFile{{What: "key", Path: "/etc/turn.key", Mode: 0o640}, {What: "state_dir", Path: "/var/lib/turnwarden", Mode: os.ModeDir | 0o711}},
	}
}

// conf is a turnserver.conf with this text.
func conf(text string) doctor.Conf {
	c := doctor.Conf{Path: "turnserver.conf", Lines: strings.Split(strings.TrimSuffix(text, "\n"), "\n")}
	for i, l := range c.Lines {
		if name, value, _ := strings.Cut(l, "="); name != "" && name[0] != '#' {
			c.Options = append(c.Options, doctor.Option{Line: i + 1, Name: name, Value: value})
		}
	}
	return c
}

func without(lines ...string) doctor.Conf {
	text := wellKept
	for _, l := range lines {
		text = strings.Replace(text, l+"\n", "", 1)
	}
	return conf(text)
}

func with(lines ...string) doctor.Conf { return conf(wellKept + strings.Join(lines, "\n") + "\n") }

// sick is a fixture for each way in which a check can fail, by its name and severity.
var sick = map[string]struct {
	check    string
	severity doctor.Severity
	cause    func(p *doctor.Patient)
	diff     string // a line of the diff
}{
	"no turnserver":        {"turnserver", doctor.Error, func(p *doctor.Patient) { p.Turnserver = "turnserver: not found" }, ""},
	"no turnadmin":         {"turnadmin", doctor.Error, func(p *doctor.Patient) { p.Turnadmin = "turnadmin: not found" }, ""},
	"no sqlite3":           {"sqlite3", doctor.Error, func(p *doctor.Patient) { p.SQLite = "sqlite3: not found" }, ""},
	"coturn cannot drain":  {"coturn-version", doctor.Warning, func(p *doctor.Patient) { p.Version = [3]int{4, 6, 1} }, ""},
	"coturn of tomorrow":   {"coturn-version", doctor.Warning, func(p *doctor.Patient) { p.Version = [3]int{4, 18, 1} }, ""},
	"coturn with a CVE":    {"coturn-flaws", doctor.Warning, func(p *doctor.Patient) { p.Version = [3]int{4, 15, 0} }, ""},
	"coturn 4.10.0":        {"coturn-flaws", doctor.Error, func(p *doctor.Patient) { p.Version = [3]int{4, 10, 0} }, ""},
	"Debian's own service": {"coturn-service", doctor.Error, func(p *doctor.Patient) { p.CoturnService = "coturn.service" }, ""},
	"bad turnwarden.yml":   {"turnwarden.yml", doctor.Error, func(p *doctor.Patient) { p.ConfigErrors = []string{"turnwarden.yml:1: no such key"} }, ""},
	"bad turnserver.conf":  {"turnserver.conf", doctor.Error, func(p *doctor.Patient) { p.Conf.Errors = []string{"turnserver.conf:1: bad"} }, ""},
	"an odd line":          {"turnserver.conf-lines", doctor.Warning, func(p *doctor.Patient) { p.Conf.Warnings = []string{"turnserver.conf:1: left out"} }, ""},
	"no realm":             {"realm", doctor.Error, func(p *doctor.Patient) { p.Conf = without("realm=turn.example.org") }, "+realm="},
	"open to anybody":      {"authentication", doctor.Error, func(p *doctor.Patient) { p.Conf = without("lt-cred-mech") }, "+lt-cred-mech"},
	"no-auth":              {"no-auth", doctor.Error, func(p *doctor.Patient) { p.Conf = with("no-auth") }, "-no-auth"},
	"no-auth twice":        {"no-auth", doctor.Error, func(p *doctor.Patient) { p.Conf = with("no-auth", "no-auth=0") }, "-no-auth"},
	"loopback peers twice": {"loopback-peers", doctor.Error, func(p *doctor.Patient) { p.Conf = with("allow-loopback-peers", "allow-loopback-peers") }, "-allow-loopback-peers"},
	"a file without an end": {"no-auth", doctor.Error, func(p *doctor.Patient) {
		p.Conf = conf(strings.Replace(wellKept, "lt-cred-mech\n", "", 1) + "no-auth")
		p.Conf.Unended = true
	}, "-no-auth"},
	"a static user":         {"static-credentials", doctor.Error, func(p *doctor.Patient) { p.Conf = with("user=alice:secret1") }, ""},
	"a static secret":       {"static-credentials", doctor.Error, func(p *doctor.Patient) { p.Conf = with("static-auth-secret=secret1") }, ""},
	"userdb":                {"userdb", doctor.Error, func(p *doctor.Patient) { p.UserDB = "not writable" }, ""},
	"an open API":           {"api-exposed", doctor.Warning, func(p *doctor.Patient) { p.APIExposed = true }, ""},
	"few open files":        {"open-files", doctor.Error, func(p *doctor.Patient) { p.OpenFiles = 1024 }, ""},
	"small buffers":         {"udp-buffers", doctor.Warning, func(p *doctor.Patient) { p.ReceiveBufferMax = 212992 }, ""},
	"clock":                 {"clock", doctor.Warning, func(p *doctor.Patient) { p.Clock = "the clock is not synchronised" }, ""},
	"full disk":             {"disk", doctor.Error, func(p *doctor.Patient) { p.DiskFree = 1 << 20 }, ""},
	"no interface":          {"interface", doctor.Error, func(p *doctor.Patient) { p.Interface = "no eth7" }, ""},
	"no speed":              {"capacity", doctor.Error, func(p *doctor.Patient) { p.Capacity = "eth0 reports no speed" }, ""},
	"no speed, standalone":  {"capacity", doctor.Warning, func(p *doctor.Patient) { p.Capacity, p.Standalone = "eth0 reports no speed", true }, ""},
	"a twin":                {"ports", doctor.Error, func(p *doctor.Patient) { p.Ports = "pid 7 has port 3478" }, ""},
	"a foreign address":     {"addresses", doctor.Error, func(p *doctor.Patient) { p.Addresses = "192.0.2.9 is not ours" }, ""},
	"few relay ports":       {"relay-range", doctor.Warning, func(p *doctor.Patient) { p.Conf = with("max-port=50099") }, ""},
	"a NAT unsaid":          {"external-address", doctor.Warning, func(p *doctor.Patient) { p.RelayIPs = []netip.Addr{netip.MustParseAddr("10.0.0.5")} }, ""},
	"a private external-ip": {"external-address", doctor.Error, func(p *doctor.Patient) { p.ExternalIPs = []netip.Addr{netip.MustParseAddr("10.0.0.5")} }, ""},
	"no ZooKeeper":          {"zookeeper", doctor.Error, func(p *doctor.Patient) { p.ZooKeeper = "no answer" }, ""},
	"ACLs":                  {"zookeeper-acl", doctor.Error, func(p *doctor.Patient) { p.ZooKeeperWrite = "no auth" }, ""},
	"advertised loopback":   {"advertised", doctor.Warning, func(p *doctor.Patient) { p.Advertised = "127.0.0.1" }, ""},
	"a bad certificate":     {"certificate", doctor.Error, func(p *doctor.Patient) { p.Certificate.Err = "key does not match" }, ""},
	"an old certificate":    {"certificate", doctor.Error, func(p *doctor.Patient) { p.Certificate.NotAfter = now.Add(-time.Second) }, ""},
	"a late certificate":    {"certificate", doctor.Warning, func(p *doctor.Patient) { p.Certificate.NotAfter = now.AddDate(0, 0, 13) }, ""},
	"another's name":        {"certificate-name", doctor.Warning, func(p *doctor.Patient) { p.Certificate.NotFor = []string{"192.0.2.5"} }, ""},
	"a readable key":        {"secret-files", doctor.Error, func(p *doctor.Patient) { p.Secrets[0].Mode = 0o644 }, ""},
	"a writable directory":  {"secret-files", doctor.Error, func(p *doctor.Patient) { p.Secrets[1].Mode = os.ModeDir | 0o777 }, ""},
	"an unreadable key":     {"readable-files", doctor.Error, func(p *doctor.Patient) { p.Secrets[0].Unreadable = "uid 101 may not" }, ""},
	"a password in conf":    {"passwords-in-conf", doctor.Warning, func(p *doctor.Patient) { p.Conf = with("redis-statsdb=ip=127.0.0.1 password=secret1") }, ""},
	"loopback peers":        {"loopback-peers", doctor.Error, func(p *doctor.Patient) { p.Conf = with("allow-loopback-peers") }, "-allow-loopback-peers"},
	"multicast":             {"multicast-peers", doctor.Warning, func(p *doctor.Patient) { p.Conf = without("no-multicast-peers") }, "+no-multicast-peers"},
	"own address denied":    {"own-address", doctor.Warning, func(p *doctor.Patient) { p.RelayIPs = []netip.Addr{netip.MustParseAddr("198.18.0.1")} }, "+allowed-peer-ip=198.18.0.1"},
	"no quota":              {"quota", doctor.Warning, func(p *doctor.Patient) { p.Conf = without("total-quota=1200") }, "+total-quota=1200"},
	"no max-bps":            {"bandwidth", doctor.Warning, func(p *doctor.Patient) { p.Conf = without("max-bps=3000000") }, "+max-bps=3000000"},
	"TCP relaying":          {"tcp-relay", doctor.Warning, func(p *doctor.Patient) { p.Conf = without("no-tcp-relay") }, "+no-tcp-relay"},
	"an open CLI":           {"cli", doctor.Error, func(p *doctor.Patient) { p.Conf = with("cli-ip=0.0.0.0") }, "-cli-ip=0.0.0.0"},
	"private peers":         {"denied-private", doctor.Error, func(p *doctor.Patient) { p.Conf = without("denied-peer-ip=172.16.0.0-172.31.255.255") }, "+denied-peer-ip=172.16.0.0-172.31.255.255"},
	"a hole in private": {"denied-private", doctor.Error, func(p *doctor.Patient) {
		p.Conf = conf(strings.Replace(wellKept, "10.0.0.0-10.255.255.255", "10.0.0.0-10.255.255.254", 1))
	}, "+denied-peer-ip=10.0.0.0-10.255.255.255"},
	"loopback as a peer": {"denied-loopback", doctor.Error, func(p *doctor.Patient) { p.Conf = without("denied-peer-ip=127.0.0.0-127.255.255.255") }, "+denied-peer-ip=127.0.0.0-127.255.255.255"},
	"metadata": {"denied-metadata", doctor.Error, func(p *doctor.Patient) {
		p.Version = [3]int{4, 7, 0}
		p.Conf = without("denied-peer-ip=169.254.0.0-169.254.255.255")
	}, "+denied-peer-ip=169.254.169.254"},
	"link-local": {"denied-link-local", doctor.Warning, func(p *doctor.Patient) {
		p.Version = [3]int{4, 7, 0}
		p.Conf = without("denied-peer-ip=fe80::-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
	}, "+denied-peer-ip=fe80::"},
	"carrier's NAT": {"denied-shared", doctor.Warning, func(p *doctor.Patient) { p.Conf = without("denied-peer-ip=100.64.0.0-100.127.255.255") }, "+denied-peer-ip=100.64.0.0"},
	"unique local": {"denied-unique-local", doctor.Warning, func(p *doctor.Patient) {
		p.Version = [3]int{4, 7, 0}
		p.Conf = without("denied-peer-ip=fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
	}, "+denied-peer-ip=fc00::"},
	"mapped":   {"denied-mapped", doctor.Warning, func(p *doctor.Patient) { p.Conf = without("denied-peer-ip=::ffff:0:0-::ffff:ffff:ffff") }, "+denied-peer-ip=::ffff:0.0.0.0"},
	"reserved": {"denied-reserved", doctor.Warning, func(p *doctor.Patient) { p.Conf = without("denied-peer-ip=240.0.0.0-255.255.255.255") }, "+denied-peer-ip=240.0.0.0-255.255.255.255"},
}

func TestHealthy(t *testing.T) {
	all := doctor.Examine(healthy())
	for _, f := range all {
		if f.Severity != doctor.Fine {
			t.Errorf("%+v", f)
		}
	}
	if len(all) < 25 || doctor.Worst(all) != doctor.Fine || doctor.Diff(healthy().Conf, all) != "" {
		t.Errorf("%d checks, worst %s", len(all), doctor.Worst(all))
	}
}

// What is wrong with a release is said of it, of the ones before it that have it, and no
// longer of the one that mends it.
func TestFlaws(t *testing.T) {
	for version, want := range map[[3]int][]string{
		{4, 5, 2}:  {"CVE-2026-27624", "CVE-2026-40613", "CVE-2026-53449", "CVE-2026-73213", "CVE-2026-73214", "CVE-2026-73215"},
		{4, 9, 0}:  {"CVE-2026-40613", "CVE-2026-53449", "CVE-2026-73213", "CVE-2026-73214", "CVE-2026-73215"},
		{4, 10, 0}: {"reason phrase", "leaks memory", "CVE-2026-53449", "CVE-2026-73213", "CVE-2026-73214", "CVE-2026-73215"},
		{4, 12, 0}: {"leaks memory", "CVE-2026-53449", "CVE-2026-73213", "CVE-2026-73214", "CVE-2026-73215"},
		{4, 13, 1}: {"CVE-2026-53449", "CVE-2026-73213", "CVE-2026-73214", "CVE-2026-73215"},
		{4, 15, 0}: {"CVE-2026-73213", "CVE-2026-73214", "CVE-2026-73215"},
		{4, 16, 0}: {"CVE-2026-73215"},
		{4, 17, 1}: nil,
		{4, 18, 0}: nil,
		{}:         nil,
	} {
		p := healthy()
		p.Version = version
		if got := flaws(p); len(got) != len(want) || !slices.EqualFunc(got, want, strings.Contains) {
			t.Errorf("%v: %q, want %q", version, got, want)
		}
	}
	p := healthy()
	p.Version, p.Conf = [3]int{4, 16, 0}, conf(wellKept+"mobility\n")
	if got := strings.Join(flaws(p), "\n"); !strings.Contains(got, "CVE-2026-73216") || !strings.Contains(got, "CVE-2026-68555") {
		t.Errorf("with mobility: %s", got)
	}
}

// flaws are those that are found in a host's coturn.
func flaws(p doctor.Patient) (found []string) {
	for _, f := range doctor.Examine(p) {
		if f.Check == "coturn-flaws" && f.Severity != doctor.Fine {
			found = append(found, f.Found)
		}
	}
	return found
}

func TestEachCheck(t *testing.T) {
	tripped := map[string]bool{}
	for name, s := range sick {
		t.Run(name, func(t *testing.T) {
			tripped[s.check] = true
			p := healthy()
			s.cause(&p)
			all := doctor.Examine(p)
			i := slices.IndexFunc(all, func(f doctor.Finding) bool { return f.Check == s.check && f.Severity != doctor.Fine })
			if i < 0 {
				t.Fatalf("%s does not find it", s.check)
			}
			f := all[i]
			if f.Severity != s.severity || doctor.Worst(all) != s.severity || f.Found == "" || strings.Contains(f.Found+f.Fix, "\n") {
				t.Errorf("%+v", f)
			}
			if strings.Contains(f.Found+f.Fix+doctor.Diff(p.Conf, all), "secret1") {
				t.Errorf("a secret is shown: %+v", f)
			}
			diff := doctor.Diff(p.Conf, all)
			if s.diff == "" {
				if diff != "" {
					t.Errorf("a diff that mends nothing:\n%s", diff)
				}
				return
			}
			if !strings.Contains(diff, "\n"+s.diff) {
				t.Errorf("no %q in the diff:\n%s", s.diff, diff)
			}
			// What the diff mends is not found again.
			p.Conf = patched(t, p.Conf, diff)
			for _, f := range doctor.Examine(p) {
				if f.Severity != doctor.Fine && f.Check != "coturn-flaws" { // which no line mends
					t.Errorf("after the diff: %+v", f)
				}
			}
		})
	}
	for _, f := range doctor.Examine(healthy()) {
		if !tripped[f.Check] {
			t.Errorf("no fixture trips %s", f.Check)
		}
	}
}

// patched is what patch makes of it.
func patched(t *testing.T, c doctor.Conf, diff string) doctor.Conf {
	t.Helper()
	path := filepath.Join(t.TempDir(), "turnserver.conf")
	text := strings.Join(c.Lines, "\n")
	if !c.Unended {
		text += "\n"
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("patch", path)
	cmd.Stdin = strings.NewReader(diff)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, diff)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return conf(string(data))
}
