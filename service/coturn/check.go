package coturn

import (
	"fmt"
	"path/filepath"
	"strings"
)

// maxRealm is where turnadmin and turnserver cut a realm.
const maxRealm = 127

// checkAuth refuses what would leave the relay open to anybody, or make coturn
// and turnwarden disagree about who may use it.
func (r *confReader) checkAuth(mode Mode) {
	lt, secret := r.last["lt-cred-mech"], r.last["use-auth-secret"]
	ltGiven := lt.number > 0
	switch {
	case ltGiven && !r.conf.LtCredMech:
		// Measured with 4.6.1: below use-auth-secret it opens the relay too.
		r.problem(lt, "%q found; turnserver would relay for anybody, use-auth-secret or not; remove the line or its value", lt.value)
	case mode == ModeUser && r.conf.UseAuthSecret:
		r.problem(secret, "found, but credentials.mode is user, and coturn refuses the users of the database beside it; replace the line by lt-cred-mech, or set credentials.mode to secret")
	case mode == ModeSecret && ltGiven && !r.conf.UseAuthSecret:
		r.problem(lt, "found without use-auth-secret, but credentials.mode is secret; replace the line by use-auth-secret, or set credentials.mode to user")
	case !ltGiven && !r.conf.UseAuthSecret:
		want := "lt-cred-mech"
		if mode == ModeSecret {
			want = "use-auth-secret"
		}
		r.problem(confLine{name: want}, "neither lt-cred-mech nor use-auth-secret found; turnserver would relay for anybody; add the line %s", want)
	}

	realm := r.last["realm"]
	switch {
	case realm.value == "":
		r.problem(confLine{name: "realm", number: realm.number}, "no realm found; without one every login is refused; add a line such as realm=turn.example.org")
	case len(realm.value) > maxRealm || strings.ContainsAny(realm.value, "'\"\\"):
		// coturn 4.6.1 splices the realm into its SQL statements.
		r.problem(realm, "%d bytes found, or a quote or backslash among them; at most %d without those accepted; choose another realm", len(realm.value), maxRealm)
	}

	if !filepath.IsAbs(r.conf.UserDB) {
		// turnserver and turnadmin would each look in their own directory, and
		// silently create a database there.
		r.problem(r.last["userdb"], "%q found; an absolute path accepted; write the whole path", r.conf.UserDB)
	}
	if quota := r.last["user-quota"]; mode == ModeUser && r.number("user-quota", 0) > 0 {
		// Measured: 12 of 20 clients served with user-quota=12.
		r.problem(quota, "%s found; in credentials.mode user all clients share one user, so only that many would be served; remove the line and use total-quota", quota.value)
	}
}

// checkLimits refuses combinations with which turnserver exits at once, or
// runs and serves no allocation.
func (r *confReader) checkLimits() {
	if c := r.conf; c.MinPort > c.MaxPort {
		l := r.last["min-port"]
		if l.number == 0 {
			l = r.last["max-port"]
		}
		r.problem(l, "min-port %d is above max-port %d; at most max-port accepted; exchange or correct the two", c.MinPort, c.MaxPort)
	}
	if r.isOn("stun-only") {
		r.problem(r.last["stun-only"], "turns TURN off, so that no credential could ever work; remove the line")
	}
	for _, name := range [...]string{"alternate-server", "udp-alternate-server", "tcp-alternate-server"} {
		if l := r.last[name]; l.number > 0 {
			r.problem(l, "found, and turnserver would send every client elsewhere (300) instead of serving it; remove the line, for turnwarden's registry is what spreads the load")
		}
	}
	if r.isOn("no-udp-relay") && r.isOn("no-tcp-relay") {
		r.problem(r.last["no-tcp-relay"], "found beside no-udp-relay, and with both turnserver exits; remove one of the two lines")
	}
	if r.number("bps-capacity", 0) > 0 && r.number("max-bps", 0) == 0 {
		r.problem(r.last["bps-capacity"], "found without max-bps, and turnserver exits; add a line max-bps=BYTES-PER-SECOND")
	}
}

// Check names the lines that the installed coturn ignores, one warning each.
func (c *Conf) Check(b Build) []string {
	var warnings []string
	v := b.Version
	for _, l := range c.lines {
		at := fmt.Sprintf("%s:%d: %s: ", c.Path, l.number, l.name)
		switch o := optionReleases[l.name]; {
		case v.Before(o.since):
			warnings = append(warnings, at+fmt.Sprintf("coturn %v does not know this option, which came with %v, and ignores the line; remove it", v, o.since))
		case o.until != Version{} && !v.Before(o.until):
			warnings = append(warnings, at+fmt.Sprintf("coturn %v no longer knows this option, which went with %v, and ignores the line; remove it", v, o.until))
		case strings.HasPrefix(l.name, "prometheus") && !b.Prometheus:
			warnings = append(warnings, at+fmt.Sprintf("this build of coturn %v has no Prometheus endpoint and ignores the line; turnwarden exports its own metrics", v))
		}
	}
	return warnings
}
