package doctor

import (
	"io/fs"
	"iter"
	"net/netip"
	"slices"
	"time"
)

// Patient is what is known of a host. A field that holds an error is empty where all is well.
type Patient struct {
	Now time.Time

	Turnserver, Turnadmin, SQLite string // why the program cannot be used
	Version                       [3]int // of coturn; zero when unknown
	Newest                        [3]int // release of coturn that we know
	CoturnService                 string // another manager's turnserver: the unit that is active or enabled

	ConfigErrors []string // of turnwarden.yml
	Conf         Conf

	UserDB    string // why it cannot be read and written as turnserver will
	Ports     string // who else holds turnserver's ports
	Addresses string // which configured address is not this host's

	CapacityMbps     float64 // configured or the link's; 0 = unknown
	Interface        string  // why no interface can be measured
	Capacity         string  // why the capacity is unknown
	OpenFiles        uint64  // hard limit of file descriptors; 0 = unknown
	ReceiveBufferMax int     // net.core.rmem_max, bytes; 0 = unknown
	Clock            string  // why the clock cannot be trusted
	DiskFree         uint64  // bytes left where state_dir is; 0 = unknown
	StateDir         string

	Standalone     bool   // no registry.zookeeper
	ZooKeeper      string // why no server answers
	ZooKeeperWrite string // why our node could not be written
	Advertised     string // host of the record's restAddr
	APIExposed     bool   // the API answers anybody from anywhere, as configured

	RelayIPs      []netip.Addr // addresses that relay sockets are bound to
	ExternalIPs   []netip.Addr // what clients are told instead
	DefaultSource netip.Addr

	Certificate *Certificate // nil = none is configured
	Secrets     []SecretFile
}

// Conf is the operator's turnserver.conf.
type Conf struct {
	Path     string
	Lines    []string // as they stand
	Unended  bool     // the last line has no end
	Options  []Option
	Errors   []string // why turnwarden would not start with it
	Warnings []string
}

// Option is one line of it, counted from 1.
type Option struct {
	Line        int
	Name, Value string
}

// Certificate is what clients of the TLS listener get to see.
type Certificate struct {
	Path     string
	NotAfter time.Time
	NotFor   []string // hosts of turns: URIs that it does not name
	Err      string   // why turnserver could not serve it
}

// SecretFile is a file that only its owner may read.
type SecretFile struct {
	What, Path string
	Mode       fs.FileMode
	Unreadable string // why the user who needs it cannot read it
}

// option returns the last line of that name, which is the one that counts.
func (c Conf) option(name string) (o Option, ok bool) {
	for line := range c.each(name) {
		o, ok = line, true
	}
	return o, ok
}

// each yields every line of these names.
func (c Conf) each(names ...string) iter.Seq[Option] {
	return func(yield func(Option) bool) {
		for _, o := range c.Options {
			if slices.Contains(names, o.Name) && !yield(o) {
				return
			}
		}
	}
}
