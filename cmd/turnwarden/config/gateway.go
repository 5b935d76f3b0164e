package config

import "time"

// Gateway is the file of turnwarden gateway.
type Gateway struct {
	Registry FleetRegistry `yaml:"registry"`
	Gateway  Picking       `yaml:"gateway"`
	API      API           `yaml:"api" default:"listen=127.0.0.1:13480"`
}

// FleetRegistry says where the records of the nodes are.
type FleetRegistry struct {
	ZooKeeper      []string      `yaml:"zookeeper" help:"ZooKeeper servers, host[:2181]."`
	Path           string        `yaml:"path" default:"/turn/servers" help:"Parent of the records."`
	SessionTimeout time.Duration `yaml:"session_timeout" default:"10s" min:"1s" help:"ZooKeeper session timeout to ask for."`
	AuthFile       string        `yaml:"auth_file" help:"File with user:password for ZooKeeper's digest scheme, mode 0600."`
	TLS            TLS           `yaml:"tls"`
}

// Picking says how servers are picked.
type Picking struct {
	Algorithm   string        `yaml:"algorithm" default:"two-draws" oneof:"two-draws round-robin" gone:"p2c: use two-draws" help:"Rule that picks a server; docs/selection.md compares them."`
	Region      string        `yaml:"region" help:"Region that is preferred where a request names none."`
	Zone        string        `yaml:"zone" help:"Zone that is preferred where a request names none."`
	ReserveMbps float64       `yaml:"reserve_mbps" default:"10" help:"A server with less free than this has no room."`
	HedgeAfter  time.Duration `yaml:"hedge_after" default:"300ms" min:"100ms" help:"How long a node may take to answer before another is asked, too."`
	AgentListen string        `yaml:"agent_listen" help:"Address of HAProxy's agent-check, plain TCP; empty = none."`
	Node        NodeAccess    `yaml:"node"`
}

// NodeAccess says how nodes are asked for their credentials. Whoever can write to
// ZooKeeper can write a record, so that records are not trusted.
type NodeAccess struct {
	TokenFile    string   `yaml:"token_file" help:"File with the token that nodes want (their api.tokens_file). It is sent only over TLS, or with insecure_http."`
	Hosts        []string `yaml:"hosts" help:"Names, addresses and prefixes of the nodes; required with token_file, which is shown to no other host, whatever a record says. A node's certificate has to be one of the host by which its record names it."`
	CAFile       string   `yaml:"ca_file" help:"Certificates of the authorities that a node's certificate is verified with. Default: the system's."`
	CertFile     string   `yaml:"cert_file" help:"Client certificate, for nodes that want one."`
	KeyFile      string   `yaml:"key_file" help:"Its key, mode 0600."`
	AllowCIDRs   []string `yaml:"allow_cidrs" help:"Addresses and prefixes that may be asked; empty = loopback and private ones. Others are never contacted, whatever a record says."`
	InsecureHTTP bool     `yaml:"insecure_http" default:"false" help:"Send the token over plain HTTP, too."`
}
