package fleet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/turnwarden/turnwarden/service/directory"
)

// Node is a member of the fleet as it was last read. It does not change: news make
// another one.
type Node struct {
	Name         string // of its record in ZooKeeper, where no two are the same
	Record       directory.Record
	Registration int64     // another number means that the node has registered anew
	Written      time.Time // when we last saw that it was written, by our own clock
	Doubt        Doubt     // why it is not to be used whatever the record says
	// Held: the record vanished together with most of the fleet, which is trouble with
	// ZooKeeper rather than with so many hosts. Ask the node before you rely on it.
	Held bool
}

// Doubt is why a record is not believed.
type Doubt string

// What the records cannot say themselves.
const (
	Stale      Doubt = "stale"      // not written for three of its intervals
	Superseded Doubt = "superseded" // another node has registered later under the same address
	Forbidden  Doubt = "forbidden"  // its address is one that may not be asked
)

// State is the word for people: the record's own, or why it does not count.
func (n *Node) State() string {
	switch {
	case n.Doubt != "":
		return string(n.Doubt)
	case n.Record.State == "":
		return "unknown"
	}
	return n.Record.State
}

// Candidate is the node as the picker sees it.
func (n *Node) Candidate() Candidate { return NewCandidate(&n.Record, n.Doubt == "") }

// Reasons for which a record is not accepted, as the metric has them.
const (
	badName   = "name"
	badSize   = "size"
	badSyntax = "syntax"
	badValue  = "value"
	tooMany   = "number"
)

func reasons() []string { return []string{badName, badSize, badSyntax, badValue, tooMany} }

type rejection struct {
	reason string
	err    error
}

// What one record may take; ours has some 600 bytes.
const (
	maxRecord = 16 << 10
	maxURIs   = 16
	maxURI    = 256
	maxWord   = 64

	maxAllocations = 1 << 20 // the ports of 16 addresses
)

var hostName = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,253}$`) // or an address

// accept reads a record that anybody may have written. What passes can be shown, given
// to browsers and calculated with; whether the address may be asked is up to the asker.
func accept(c directory.Change, at time.Time) (*Node, *rejection) {
	if !directory.NodeName(c.Name) {
		return nil, &rejection{badName, errors.New("no name of a node")}
	}
	if len(c.Data) > maxRecord {
		return nil, &rejection{badSize, fmt.Errorf("%d bytes, more than %d", len(c.Data), maxRecord)}
	}
	r, err := directory.Decode(c.Data)
	if err != nil {
		return nil, &rejection{badSyntax, err}
	}
	if err := checkValues(r); err != nil {
		return nil, &rejection{badValue, err}
	}
	r.Node = c.Name
	r.Unknown = nil
	for _, mbps := range []*float64{&r.FreeTraffic, &r.CapacityMbps, &r.RxMbps, &r.TxMbps} {
		*mbps = min(*mbps, directory.FastestMbps)
	}
	r.Allocations = min(max(r.Allocations, 0), maxAllocations)
	return &Node{Name: c.Name, Record: r, Registration: c.Czxid, Written: at}, nil
}

func checkValues(r directory.Record) error {
	if _, _, err := splitAddr(r.RESTAddr); err != nil {
		return fmt.Errorf("restAddr %q: %w", clip(r.RESTAddr), err)
	}
	if r.RESTScheme != "" && r.RESTScheme != "http" && r.RESTScheme != "https" {
		return fmt.Errorf("restScheme %q", clip(r.RESTScheme))
	}
	for key, word := range map[string]string{"region": r.Region, "zone": r.Zone, "state": r.State, "version": r.Version, "mode": r.Mode} {
		if len(word) > maxWord || strings.ContainsFunc(word, func(c rune) bool { return !unicode.IsPrint(c) }) {
			return fmt.Errorf("%s %q", key, clip(word))
		}
	}
	if len(r.URIs) > maxURIs {
		return fmt.Errorf("%d uris, more than %d", len(r.URIs), maxURIs)
	}
	for _, u := range r.URIs {
		if !turnURI(u) {
			return fmt.Errorf("uri %q", clip(u))
		}
	}
	if r.IntervalSec != 0 && (r.IntervalSec < 1 || r.IntervalSec > 3600) {
		return fmt.Errorf("intervalSec %g", r.IntervalSec)
	}
	return nil
}

// splitAddr takes a restAddr apart. It becomes the authority of a URL, so that nothing
// else than a host and a port may be in it.
func splitAddr(addr string) (host, port string, err error) {
	if host, port, err = net.SplitHostPort(addr); err != nil {
		return "", "", errors.New("not host:port")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", "", errors.New("no port")
	}
	if !hostName.MatchString(host) {
		return "", "", errors.New("no host")
	}
	return host, port, nil
}

// forbidden says whether a record's address is known to be one that may not be asked. What
// a name leads to is known when a connection is made.
func (c *Config) forbidden(r *directory.Record) bool {
	host, _, _ := net.SplitHostPort(r.RESTAddr)
	addr, err := netip.ParseAddr(host)
	return err == nil && c.Allows != nil && !c.Allows(addr)
}

// turnURI says whether it may be given to a browser.
func turnURI(u string) bool {
	scheme, _, _ := strings.Cut(u, ":")
	switch scheme {
	case "turn", "turns", "stun", "stuns":
	default:
		return false
	}
	return len(u) <= maxURI && !strings.ContainsFunc(u, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '<' || c == '>' || c == '\\' })
}

func clip(s string) string { return s[:min(len(s), 80)] }

// interval is how often the node means to write. The seed's records do not say.
func interval(r *directory.Record) time.Duration {
	if r.IntervalSec == 0 {
		return 10 * time.Second
	}
	return time.Duration(r.IntervalSec * float64(time.Second))
}
