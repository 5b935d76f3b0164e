package config

import (
	"time"

	"github.com/turnwarden/turnwarden/service/probe"
)

// Node is turnwarden.yml. The tags are its documentation and its grammar:
// default is what an absent key means, min the least value, oneof the words that
// are accepted; reload says what a change takes (see reloadable.go). A field's kind decides
// how its value is written (see decode.go).
type Node struct {
	Node        string      `yaml:"node" reload:"start" help:"Name of this node in the registry and, hashed, in its usernames. Default: the host name."`
	Coturn      Coturn      `yaml:"coturn"`
	Credentials Credentials `yaml:"credentials"`
	Traffic     Traffic     `yaml:"traffic"`
	Registry    Registry    `yaml:"registry"`
	Probe       Probe       `yaml:"probe"`
	API         API         `yaml:"api"`
	Admin       Admin       `yaml:"admin"`
}

// Coturn says which turnserver runs, and how it is kept running.
type Coturn struct {
	Turnserver      string        `yaml:"turnserver" default:"turnserver" reload:"drain" help:"The turnserver program; a bare name is looked up in PATH."`
	Turnadmin       string        `yaml:"turnadmin" default:"turnadmin" reload:"start" help:"The turnadmin program."`
	ConfigFile      string        `yaml:"config_file" default:"/etc/turnserver.conf" reload:"drain" help:"The operator's turnserver.conf. It is read, never edited."`
	User            string        `yaml:"user" reload:"start" help:"User that turnserver runs as when turnwarden is root."`
	CLI             bool          `yaml:"cli" default:"true" reload:"drain" help:"Open coturn's CLI on a loopback port with a random password per start."`
	RestartDelay    time.Duration `yaml:"restart_delay" default:"3s" min:"100ms" reload:"live" help:"First delay before a child that died young is started again; doubles."`
	RestartDelayMax time.Duration `yaml:"restart_delay_max" default:"1m" min:"100ms" reload:"live" help:"Longest delay before a restart."`
	StableAfter     time.Duration `yaml:"stable_after" default:"1m" min:"1s" reload:"live" help:"A child that ran this long is started again at once."`
	StopTimeout     time.Duration `yaml:"stop_timeout" default:"15s" min:"100ms" reload:"drain" help:"Time between SIGTERM and SIGKILL."`
	DrainTimeout    time.Duration `yaml:"drain_timeout" default:"0s" reload:"live" help:"How long SIGTERM waits, unlisted, for allocations to end; 0 = not at all."`
}

// Credentials says how long credentials live and where they are kept.
type Credentials struct {
	Mode        string        `yaml:"mode" default:"user" oneof:"user secret" reload:"start" help:"How clients authenticate: user = one rotating long-term user for all; secret = a username and password of each client's own, made from a rotating shared secret (use-auth-secret in turnserver.conf; needs userdb: sqlite)."`
	UserDB      string        `yaml:"userdb" default:"turnadmin" oneof:"turnadmin sqlite" reload:"start" help:"Who writes coturn's userdb: turnadmin (password in its argv for milliseconds) or sqlite (SQL on the stdin of sqlite3)."`
	Lifetime    time.Duration `yaml:"lifetime" default:"24h" min:"1s" reload:"live" help:"How long a credential is valid from its publication."`
	RotateEvery time.Duration `yaml:"rotate_every" default:"12h" min:"1s" reload:"live" help:"How often a new one is published; less than lifetime."`
	StateDir    string        `yaml:"state_dir" default:"/var/lib/turnwarden" reload:"start" help:"Directory of the state file, the lock and the rendered configuration."`
}

// Traffic says which NIC is measured against which capacity.
type Traffic struct {
	Interface    []string      `yaml:"interface" default:"auto" reload:"live" help:"auto (the NIC that owns relay-ip or listening-ip, else the default route's), a name, or a list to be summed."`
	CapacityMbps Mbps          `yaml:"capacity_mbps" default:"auto" reload:"live" help:"auto (the link speed, read at each sample) or megabits per second."`
	Direction    string        `yaml:"direction" default:"both" oneof:"both rx tx" reload:"live" help:"Which direction headroom is computed from; both = the tighter."`
	Interval     time.Duration `yaml:"interval" default:"10s" min:"1s" reload:"live" help:"How often the counters are read and the record is written."`
}

// Registry says where and as what this node is registered.
type Registry struct {
	ZooKeeper      []string      `yaml:"zookeeper" reload:"start" help:"ZooKeeper servers, host[:2181]; empty = standalone."`
	Path           string        `yaml:"path" default:"/turn/servers" reload:"start" help:"Parent of the record."`
	PrometheusPath string        `yaml:"prometheus_path" default:"/turn/prometheus" reload:"start" help:"Parent of the node that Prometheus' nerve_sd_configs reads."`
	SessionTimeout time.Duration `yaml:"session_timeout" default:"10s" min:"1s" reload:"start" help:"ZooKeeper session timeout to ask for."`
	Advertise      string        `yaml:"advertise" reload:"live" help:"host[:port] published as restAddr; a name that turnserver's certificate has stands in turns: URIs too. Default: api.listen, a wildcard replaced by the default route's source address."`
	Region         string        `yaml:"region" reload:"live" help:"Region published in the record."`
	Zone           string        `yaml:"zone" reload:"live" help:"Zone published in the record."`
	AuthFile       string        `yaml:"auth_file" reload:"start" help:"File with user:password for ZooKeeper's digest scheme, mode 0600."`
	ACL            string        `yaml:"acl" default:"open" oneof:"open digest" reload:"start" help:"Who may write our nodes: everybody, or holders of auth_file's secret."`
	MaxDraining    int           `yaml:"max_draining" default:"1" min:"1" reload:"live" help:"How many nodes of the fleet may drain at once; turnwarden drain and restart wait for their turn."`
	TLS            TLS           `yaml:"tls"`
}

// TLS names the files of a TLS client.
type TLS struct {
	CAFile   string `yaml:"ca_file" reload:"start" help:"Certificates of the authorities that are trusted."`
	CertFile string `yaml:"cert_file" reload:"start" help:"Client certificate."`
	KeyFile  string `yaml:"key_file" reload:"start" help:"Its key, mode 0600."`
}

// Enabled says whether anything of it is set.
func (t TLS) Enabled() bool { return t != TLS{} }

// Probe says how service is proved.
type Probe struct {
	Interval  time.Duration `yaml:"interval" default:"5s" min:"1s" reload:"live" help:"How often the TURN server is probed."`
	Timeout   time.Duration `yaml:"timeout" default:"2s" min:"100ms" reload:"live" help:"How long one stage of a probe may take."`
	FailAfter int           `yaml:"fail_after" default:"3" min:"1" reload:"live" help:"Failures in a row after which the server does not serve."`

	AllowTargets []string `yaml:"allow_targets" reload:"live" help:"Other servers, HOST or HOST:PORT, that /probe?target= of the web listener asks on request; no credential is sent. Empty = none, for a server that asks whomever it is told to is a weapon."`
}

// API says where GET /turncredential is answered, and to whom. All that is set of
// client_ca_file, tokens_file and allow_cidrs has to be passed.
type API struct {
	Listen               string    `yaml:"listen" default:"127.0.0.1:13478" reload:"start" help:"Address of the credential API."`
	TLS                  ServerTLS `yaml:"tls"`
	TokensFile           string    `yaml:"tokens_file" reload:"live" help:"File with a line for each caller, made by turnwarden token NAME: only who sends one of these tokens is answered."`
	AllowCIDRs           []string  `yaml:"allow_cidrs" reload:"live" help:"Addresses and prefixes that may call; empty = all."`
	AllowUnauthenticated bool      `yaml:"allow_unauthenticated" default:"false" reload:"live" help:"Serve credentials on a non-loopback address to whoever can reach it."`
	Hosts                []string  `yaml:"hosts" reload:"live" help:"Names that a request's Host may bear where no token and no client certificate is asked for, besides addresses, localhost, registry.advertise and the names of the certificate. Others get 421, for any web page can have a name of its own lead here."`
	TrustedProxies       []string  `yaml:"trusted_proxies" reload:"live" help:"Addresses and prefixes of proxies whose X-Forwarded-For is believed."`
	CORSOrigins          []string  `yaml:"cors_origins" reload:"live" help:"Origins of web pages that may read answers, such as https://app.example.org; empty = none."`
	RateLimit            float64   `yaml:"rate_limit" default:"0" reload:"live" help:"Requests per second of each caller: a token (its line may say otherwise) or, without tokens, an address; 0 = no limit."`
}

// ServerTLS names the files of a TLS server, which are read again when they change.
type ServerTLS struct {
	CertFile     string `yaml:"cert_file" reload:"live" help:"Certificate, with its chain; with key_file, the API is served over TLS."`
	KeyFile      string `yaml:"key_file" reload:"live" help:"Its key."`
	ClientCAFile string `yaml:"client_ca_file" reload:"live" help:"Authorities: only clients that show a certificate of theirs are answered."`
}

// Admin says where operators' commands are taken.
type Admin struct {
	Socket string `yaml:"socket" default:"/run/turnwarden/admin.sock" reload:"start" help:"Unix socket, mode 0600, over which commands such as status, rotate and drain ask the running turnwarden."`
}

// DefaultSocket is where the client commands look, too.
const DefaultSocket = "/run/turnwarden/admin.sock"

// Mbps is a rate in megabits (10^6 bits) per second; 0 stands for auto.
type Mbps float64

// Allowed is whom /probe may ask.
func (c Probe) Allowed() (all []probe.Allow) {
	for _, entry := range c.AllowTargets {
		allow, _ := probe.ParseAllow(entry) // check has seen it
		all = append(all, allow)
	}
	return all
}

// Enabled says whether anything of it is set.
func (t ServerTLS) Enabled() bool { return t != ServerTLS{} }
