package coturn

import (
	"net/netip"
	"strconv"
	"strings"
)

// kind is what coturn makes of an option's value.
type kind int

const (
	kindText  kind = iota // anything
	kindBool              // nothing, or one of coturn's many spellings of yes and no
	kindFlag              // on whatever the value: even use-auth-secret=no turns it on
	kindCount             // a number that is not negative
	kindPort              // a number from 1 to 65535
	kindIP                // an IP address
	kindIPMap             // an IP address, or PUBLIC/PRIVATE
)

// accepts says what a valid value looks like; empty if any is.
func (k kind) accepts(value string) string {
	ok, want := true, ""
	switch k {
	case kindText, kindFlag:
	case kindBool:
		_, ok = parseBool(value)
		want = "yes or no"
	case kindCount:
		n, err := strconv.Atoi(value)
		ok, want = err == nil && n >= 0, "a number"
	case kindPort:
		n, err := strconv.Atoi(value)
		ok, want = err == nil && n >= 1 && n <= 65535, "a number from 1 to 65535"
	case kindIP:
		_, err := netip.ParseAddr(value)
		ok, want = err == nil, "an IP address"
	case kindIPMap:
		public, private, mapped := strings.Cut(value, "/")
		_, err := netip.ParseAddr(public)
		ok = err == nil
		if mapped {
			_, err = netip.ParseAddr(private)
			ok = ok && err == nil
		}
		want = "PUBLIC-IP or PUBLIC-IP/PRIVATE-IP"
	}
	if ok {
		return ""
	}
	return want
}

// parseBool reads a boolean as coturn's get_bool_value does, which looks at the
// first character only, takes no value for yes, and exits at any other one.
func parseBool(s string) (value, ok bool) {
	switch {
	case s == "", strings.ContainsAny(s[:1], "yYtT123456789"), s == "on", s == "On", s == "ON":
		return true, true
	case strings.ContainsAny(s[:1], "nNfF0"), s == "off", s == "Off", s == "OFF":
		return false, true
	}
	return false, false
}

// confOption is what turnwarden knows about a name in turnserver.conf.
type confOption struct {
	kind kind
	// refused and leftOut say why the line is an error, or is not rendered.
	refused, leftOut string
}

const (
	// Measured with 4.6.1: no-auth=0 below lt-cred-mech opens the relay too.
	openRelay    = "turnserver would relay for anybody, whatever the value; remove the line"
	neverRotates = "a static credential works for ever; remove the line, turnwarden adds and rotates its own"
	sqliteOnly   = "sqlite only so far; remove the line and let userdb name an sqlite file"

	ourLog     = "turnwarden reads the log from the child's stdout"
	ourProcess = "turnwarden keeps the child in the foreground and knows its pid"
	ourUser    = "turnwarden starts the child as coturn.user"
	ourCLI     = "turnwarden sets the CLI for itself, see coturn.cli"
)

// releases are those that know an option: from since on, up to but without until. Zero is
// no bound.
type releases struct{ since, until Version }

// confOptions has every option that a release of coturn knows; optionReleases says
// which. Whether yes or no is accepted was asked of the programs (TestOptionKinds).
var confOptions = map[string]confOption{
	// Listeners and relays.
	"listening-device":       {},
	"listening-port":         {kind: kindPort},
	"tls-listening-port":     {kind: kindPort},
	"alt-listening-port":     {kind: kindCount},
	"alt-tls-listening-port": {kind: kindCount},
	"tcp-proxy-port":         {kind: kindPort},
	"listening-ip":           {kind: kindIP},
	"relay-device":           {},
	"relay-ip":               {kind: kindIP},
	"external-ip":            {kind: kindIPMap},
	"relay-threads":          {kind: kindCount},
	"cpus":                   {kind: kindCount},
	"min-port":               {kind: kindPort},
	"max-port":               {kind: kindPort},
	"aux-server":             {},
	"udp-self-balance":       {kind: kindBool},
	"alternate-server":       {},
	"tls-alternate-server":   {},
	"udp-alternate-server":   {},
	"tcp-alternate-server":   {},
	"no-udp":                 {kind: kindBool},
	"no-tcp":                 {kind: kindBool},
	"no-tls":                 {kind: kindBool},
	"no-dtls":                {kind: kindBool},
	"dtls":                   {kind: kindBool},
	"no-udp-relay":           {kind: kindBool},
	"no-tcp-relay":           {kind: kindBool},
	"sock-buf-size":          {kind: kindCount},
	"udp-recvmmsg":           {kind: kindBool},
	"udp-recvmmsg-log":       {kind: kindBool},
	"udp-sendmmsg-log":       {kind: kindBool},
	"udp-gso":                {kind: kindBool},
	"multiplex-peer":         {kind: kindFlag},
	"multiplex-peer-port":    {kind: kindPort},

	"multiplex-peer-max-peers":          {kind: kindCount},
	"keep-address-family":               {kind: kindBool},
	"allocation-default-address-family": {},
	"ne":                                {},

	// Who may allocate.
	"lt-cred-mech":       {kind: kindBool},
	"use-auth-secret":    {kind: kindFlag},
	"realm":              {},
	"server-name":        {},
	"oauth":              {kind: kindBool},
	"rest-api-separator": {},
	"userdb":             {},
	"db":                 {},
	"secret-key-file":    {},
	"no-auth-pings":      {kind: kindFlag},
	"no-dynamic-ip-list": {kind: kindFlag},
	"no-dynamic-realms":  {kind: kindFlag},

	"no-auth":            {refused: openRelay},
	"user":               {refused: neverRotates},
	"static-auth-secret": {refused: neverRotates},
	"psql-userdb":        {refused: sqliteOnly},
	"sql-userdb":         {refused: sqliteOnly},
	"mysql-userdb":       {refused: sqliteOnly},
	"mongo-userdb":       {refused: sqliteOnly},
	"redis-userdb":       {refused: sqliteOnly},

	// Limits.
	"user-quota":                 {kind: kindCount},
	"total-quota":                {kind: kindCount},
	"max-bps":                    {kind: kindCount},
	"bps-capacity":               {kind: kindCount},
	"stale-nonce":                {},
	"stateless-nonce":            {kind: kindBool},
	"stateless-nonce-secret":     {},
	"max-allocate-lifetime":      {},
	"max-allocate-timeout":       {},
	"channel-lifetime":           {},
	"permission-lifetime":        {},
	"unauthorized-ratelimit":     {kind: kindBool},
	"unauthorized-ratelimit-rps": {kind: kindCount},
	"drain-min-allocations":      {leftOut: "turnwarden drains until the last call has ended"},
	"drop-invalid-packets":       {kind: kindBool},
	"drop-invalid-packets-log":   {kind: kindBool},

	// Which peers and messages.
	"allow-loopback-peers":              {kind: kindBool},
	"no-loopback-peers":                 {},
	"no-multicast-peers":                {kind: kindBool},
	"allowed-peer-ip":                   {},
	"denied-peer-ip":                    {},
	"server-relay":                      {kind: kindBool},
	"check-origin-consistency":          {kind: kindBool},
	"secure-stun":                       {kind: kindBool},
	"stun-only":                         {kind: kindBool},
	"no-stun":                           {kind: kindBool},
	"fingerprint":                       {kind: kindBool},
	"mobility":                          {kind: kindBool},
	"no-rfc5780":                        {kind: kindFlag},
	"rfc5780":                           {kind: kindFlag},
	"no-stun-backward-compatibility":    {kind: kindBool},
	"stun-backward-compatibility":       {kind: kindBool},
	"rfc3489-compatibility":             {kind: kindBool},
	"rfc5766-channel-numbers":           {kind: kindBool},
	"include-reason-string":             {kind: kindBool},
	"response-origin-only-with-rfc5780": {kind: kindBool},
	"respond-http-unsupported":          {kind: kindBool},
	"acme-redirect":                     {},
	"no-http":                           {},
	"prod":                              {kind: kindBool},
	"no-software-attribute":             {kind: kindBool},
	"software-attribute":                {kind: kindBool},

	// TLS.
	"cert":            {},
	"pkey":            {},
	"pkey-pwd":        {},
	"raw-public-keys": {kind: kindBool},
	"cipher-list":     {},
	"CA-file":         {},
	"ec-curve-name":   {},
	"dh566":           {kind: kindBool},
	"dh1066":          {kind: kindBool},
	"dh2066":          {},
	"dh-file":         {},
	"no-sslv2":        {},
	"no-sslv3":        {},
	"no-tlsv1":        {kind: kindBool},
	"no-tlsv1_1":      {kind: kindBool},
	"no-tlsv1_2":      {kind: kindBool},
	"tlsv1":           {kind: kindBool},
	"tlsv1_1":         {kind: kindBool},

	// Log, process, administration.
	"verbose":                  {kind: kindBool},
	"Verbose":                  {leftOut: "it writes some 80 lines for one allocation"},
	"log-file":                 {leftOut: ourLog},
	"no-stdout-log":            {leftOut: ourLog},
	"syslog":                   {leftOut: ourLog},
	"syslog-facility":          {leftOut: ourLog},
	"simple-log":               {leftOut: ourLog},
	"new-log-timestamp":        {kind: kindFlag},
	"new-log-timestamp-format": {leftOut: "turnwarden could not tell the time from the message"},
	"log-min-level":            {leftOut: "the session lines that turnwarden counts would be missing"},
	"log-binding":              {kind: kindBool},
	"daemon":                   {leftOut: ourProcess},
	"pidfile":                  {leftOut: ourProcess},
	"proc-user":                {leftOut: ourUser},
	"proc-group":               {leftOut: ourUser},
	"cli":                      {leftOut: ourCLI},
	"no-cli":                   {leftOut: ourCLI},
	"cli-ip":                   {leftOut: ourCLI},
	"cli-port":                 {leftOut: ourCLI},
	"cli-password":             {leftOut: ourCLI},
	"cli-max-output-sessions":  {leftOut: ourCLI},

	"web-admin":                   {kind: kindBool},
	"web-admin-ip":                {},
	"web-admin-port":              {kind: kindPort},
	"web-admin-listen-on-workers": {kind: kindBool},
	"prometheus":                  {},
	"prometheus-port":             {},
	"prometheus-address":          {},
	"prometheus-path":             {},
	"prometheus-tls":              {},
	"prometheus-cert":             {},
	"prometheus-key":              {},
	"prometheus-username-labels":  {},
	"redis-statsdb":               {},
	"secret-ts-exp-time":          {},
	"version":                     {refused: "it is an option of the command line; remove the line"},
}
