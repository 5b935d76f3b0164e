package doctor

import (
	"fmt"
	"strings"
)

// flaw is what is wrong with some releases of coturn.
type flaw struct {
	id           string
	what         string
	since, until [3]int // the first release that has it, and the one that mends it; zero = every one before until
	option       string // without this line in turnserver.conf it does no harm; "" = it always does
	severity     Severity
}

// flaws are those that are known of coturn 4.5.2 to 4.18.0. CVEs before 2026-05 are in the
// National Vulnerability Database with these bounds, later ones in the changelog of
// Debian's coturn 4.18.0-1 and 4.14.0-1; the leaks are coturn's issues 1898, 1933 and 1960.
var flaws = []flaw{
	{id: "CVE-2026-27624", what: "clients reach denied peers, this host's loopback among them, as IPv4-mapped IPv6 addresses", until: [3]int{4, 9, 0}, severity: Warning},
	{id: "CVE-2026-40613", what: "one UDP packet of a stranger ends turnserver on ARM64", until: [3]int{4, 10, 0}, severity: Warning},
	{id: "CVE-2026-43994", what: "a stranger's oAuth token overflows a buffer", until: [3]int{4, 10, 0}, option: "oauth", severity: Error},
	{id: "", what: "error answers hold memory of turnserver as their reason phrase (seen in its 401 and 403)", since: [3]int{4, 10, 0}, until: [3]int{4, 11, 0}, severity: Error},
	{id: "coturn#1898, #1933, #1960", what: "turnserver leaks memory until it is killed", since: [3]int{4, 10, 0}, until: [3]int{4, 13, 1}, severity: Warning},
	{id: "CVE-2026-53449, CVE-2026-53450", what: "see Debian's advisory", until: [3]int{4, 14, 0}, severity: Warning},
	{id: "CVE-2026-73213", what: "clients reach IPv6 peers in a denied-peer-ip range that is no prefix", until: [3]int{4, 16, 0}, severity: Warning},
	{id: "CVE-2026-73214", what: "strangers exhaust memory with pieces of a DTLS handshake", until: [3]int{4, 16, 0}, severity: Warning},
	{id: "CVE-2026-73215", what: "one client with a credential takes every relay port for good, by EVEN-PORT", until: [3]int{4, 17, 0}, severity: Warning},
	{id: "CVE-2026-73216", what: "clients get around total-quota and user-quota", until: [3]int{4, 17, 0}, option: "mobility", severity: Warning},
	{id: "CVE-2026-68555", what: "a client with a credential exhausts memory by resuming one allocation again and again", since: [3]int{4, 15, 0}, until: [3]int{4, 18, 0}, option: "mobility", severity: Warning},
}

// checkFlaws names what is wrong with the installed release. A distribution may have mended
// it without a new number.
func checkFlaws(p Patient, say say) {
	for _, f := range flaws {
		if before(p.Version, f.since) || !before(p.Version, f.until) || p.Version == [3]int{} {
			continue
		}
		if _, on := p.Conf.option(f.option); f.option != "" && !on {
			continue
		}
		what := f.what
		if f.id != "" {
			what += " (" + f.id + ")"
		}
		fix := fmt.Sprintf("upgrade coturn to %s or later, or ask your distribution whether its package is mended", dotted(f.until))
		if f.option != "" {
			fix += "; or remove the line " + f.option
		}
		say(f.severity, "coturn "+dotted(p.Version)+": "+what, fix)
	}
}

func dotted(v [3]int) string { return strings.Trim(strings.ReplaceAll(fmt.Sprint(v), " ", "."), "[]") }
