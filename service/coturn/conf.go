package coturn

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Mode is how the clients of this host prove who they are.
type Mode string

const (
	// ModeUser is lt-cred-mech with users in the database.
	ModeUser Mode = "user"
	// ModeSecret is use-auth-secret with secrets in the database.
	ModeSecret Mode = "secret"
)

// packagedUserDB is where turnserver and turnadmin look when no option names a
// database; it is compiled in, and this is Debian's.
const packagedUserDB = "/var/lib/turn/turndb"

// Conf is what the operator's turnserver.conf says.
type Conf struct {
	Path   string
	Realm  string
	UserDB string // always absolute

	LtCredMech    bool
	UseAuthSecret bool

	ListeningIPs     []netip.Addr // empty: every address of the host
	RelayIPs         []netip.Addr // empty: the listening ones
	ExternalIPs      []ExternalIP
	ListeningPort    int
	TLSListeningPort int
	MinPort, MaxPort int
	UDP, TCP         bool
	NoSTUN           bool // a Binding is not answered, an Allocate is
	// TLS and DTLS need Cert and Key. From coturn 4.17 on DTLS also needs the
	// line dtls, without which it is off whatever this says.
	TLS, DTLS bool
	Cert, Key string
	// ClientCertificates are asked of every TLS client, with CA-file (4.6.1).
	ClientCertificates bool

	ProcUser, ProcGroup string // not rendered: the child is started as coturn.user
	AllowLoopbackPeers  bool
	TotalQuota          int // 0: no limit

	// Warnings are worth one log line each, once.
	Warnings []string

	lines []confLine // those to render, in their order
}

// ExternalIP is the address that clients see where the host has another one.
type ExternalIP struct {
	Public  netip.Addr
	Private netip.Addr // the zero Addr: every address of Public's family
}

// ReadConf reads the operator's turnserver.conf. The error joins every problem
// in it, one line each; values of options that may be secret are not in them.
func ReadConf(path string, mode Mode) (*Conf, error) {
	const consequence = "turnserver would start without it, as a relay open to anybody"
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: no such file; %s; create it or set coturn.config_file", path, consequence)
	case err == nil && !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: not a regular file; %s; set coturn.config_file to coturn's configuration file", path, consequence)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: unreadable for uid %d (%w); %s; let that user read it", path, os.Geteuid(), errors.Unwrap(err), consequence)
	}
	return parseConf(path, string(data), mode)
}

func parseConf(path, data string, mode Mode) (*Conf, error) {
	r := confReader{conf: &Conf{Path: path}, last: map[string]confLine{}}
	number := 0
	for raw := range strings.SplitSeq(data, "\n") {
		number++
		r.read(number, raw)
	}
	r.settle()
	r.checkAuth(mode)
	r.checkLimits()
	if err := errors.Join(r.problems...); err != nil {
		return nil, err
	}
	return r.conf, nil
}

// confReader turns lines into a Conf. Where an option that has one value is given
// more often, the last line counts, as it does for coturn.
type confReader struct {
	conf     *Conf
	last     map[string]confLine
	problems []error
}

// maxLine keeps a line, and what Render writes in its place, below the 1023
// bytes that coturn reads at once. It takes the rest for a line of its own,
// and after a long comment that rest is an option (measured with 4.6.1).
const maxLine = 1000

func (r *confReader) read(number int, raw string) {
	l := confLine{number: number, text: trimLine(raw)}
	if len(raw) > maxLine {
		r.problem(l, "%d bytes long, and coturn takes what follows the first 1023 for another line, even in a comment; at most %d; shorten it", len(raw), maxLine)
		return
	}
	if l.text == "" || l.text[0] == '#' {
		return
	}
	if strings.ContainsFunc(l.text, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
		r.problem(l, "control character found; printable text and tabs only; type the line again")
		return
	}
	l.name, l.value = splitOption(l.text)
	o, known := confOptions[l.name]
	switch {
	case !known:
		r.problem(l, "unknown to every version of coturn up to %v, which would ignore the line; correct the name (no dashes before it) or remove the line", Newest)
		return
	case o.refused != "":
		r.problem(l, "refused: %s", o.refused)
		return
	}
	if want := o.kind.accepts(l.value); want != "" {
		r.problem(l, "%q found; %s accepted; correct the value", l.value, want)
		return
	}
	if o.kind == kindFlag {
		if on, ok := parseBool(l.value); !on || !ok {
			r.warn(l, "coturn ignores the value and turns the option on; remove the line if that is not meant")
		}
	}
	if strings.HasSuffix(l.text, ";") {
		r.warn(l, "the semicolon at the end is part of the value for coturn; remove it if that is not meant")
	}
	r.last[l.name] = l
	if o.leftOut != "" {
		r.warn(l, "left out: %s", o.leftOut)
		return
	}
	r.collect(l)
	r.conf.lines = append(r.conf.lines, l)
}

// collect keeps the values of options that may be given more than once, and
// says what is worth knowing about a single line.
func (r *confReader) collect(l confLine) {
	c := r.conf
	switch l.name {
	case "listening-ip":
		c.ListeningIPs = append(c.ListeningIPs, netip.MustParseAddr(l.value))
	case "relay-ip":
		c.RelayIPs = append(c.RelayIPs, netip.MustParseAddr(l.value))
	case "external-ip":
		public, private, mapped := strings.Cut(l.value, "/")
		ip := ExternalIP{Public: netip.MustParseAddr(public)}
		if mapped {
			ip.Private = netip.MustParseAddr(private)
		}
		c.ExternalIPs = append(c.ExternalIPs, ip)
	case "db":
		// Two names of one option: the later line counts.
		r.last["userdb"] = l
	case "cert", "pkey", "CA-file", "dh-file":
		if !filepath.IsAbs(l.value) {
			r.warn(l, "%q is not an absolute path; coturn looks for it in the child's directory and in its own, and starts without TLS where it finds none", l.value)
		}
		if l.name == "CA-file" {
			r.warn(l, "coturn asks each TLS client for a certificate, which browsers do not have; nor has turnwarden, so that TLS is not probed; remove the line unless that is meant")
		}
	case "redis-statsdb":
		r.warn(l, "coturn logs this line at its start, with the password in it (4.6.1)")
	}
}

// settle fills in the options that have one value, or their defaults.
func (r *confReader) settle() {
	c := r.conf
	c.Realm = r.last["realm"].value
	c.UserDB = packagedUserDB
	if l, ok := r.last["userdb"]; ok {
		c.UserDB = l.value
	}
	c.ListeningPort = r.number("listening-port", 3478)
	c.TLSListeningPort = r.number("tls-listening-port", 5349)
	c.MinPort = r.number("min-port", 49152)
	c.MaxPort = r.number("max-port", 65535)
	c.TotalQuota = r.number("total-quota", 0)
	c.Cert, c.Key = r.last["cert"].value, r.last["pkey"].value
	c.ClientCertificates = r.last["CA-file"].value != ""
	c.UDP, c.TCP = !r.isOn("no-udp"), !r.isOn("no-tcp")
	c.NoSTUN = r.isOn("no-stun")
	certified := c.Cert != "" && c.Key != ""
	c.TLS, c.DTLS = certified && !r.isOn("no-tls"), certified && !r.isOn("no-dtls")
	c.LtCredMech = r.isOn("lt-cred-mech")
	_, c.UseAuthSecret = r.last["use-auth-secret"]
	c.AllowLoopbackPeers = r.isOn("allow-loopback-peers")
	c.ProcUser, c.ProcGroup = r.last["proc-user"].value, r.last["proc-group"].value
}

func (r *confReader) number(name string, otherwise int) int {
	if l, ok := r.last[name]; ok {
		otherwise, _ = strconv.Atoi(l.value) // kind.accepts has seen it
	}
	return otherwise
}

func (r *confReader) isOn(name string) bool {
	l, ok := r.last[name]
	on, _ := parseBool(l.value)
	return ok && on
}

func (r *confReader) problem(l confLine, format string, args ...any) {
	r.problems = append(r.problems, errors.New(r.at(l)+fmt.Sprintf(format, args...)))
}

func (r *confReader) warn(l confLine, format string, args ...any) {
	r.conf.Warnings = append(r.conf.Warnings, r.at(l)+fmt.Sprintf(format, args...))
}

// at says where a line is; one without a number is missing from the file.
func (r *confReader) at(l confLine) string {
	at := r.conf.Path
	if l.number > 0 {
		at += ":" + strconv.Itoa(l.number)
	}
	if name := harmless(l.name); name != "" {
		at += ": " + name
	}
	return at + ": "
}
