package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
)

// RecordVersion is the version of the record that this package writes.
const RecordVersion = 1

var nodeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// NodeName says whether a node may be called so. Its record is the child of that name.
func NodeName(name string) bool { return nodeName.MatchString(name) }

// FastestMbps is the fastest Ethernet there is (IEEE 802.3df). It bounds what one record can
// claim, and with it how many of all picks a broken or malicious one can draw to itself.
const FastestMbps = 800_000

// Record is what a node says about itself to those who choose a server. It never
// holds a secret: everybody who reaches ZooKeeper can read it.
type Record struct {
	FreeTraffic  float64 // Mbps; 0 means "do not use", also to readers of the first two keys alone
	RESTAddr     string
	V            int
	RESTScheme   string
	Node         string
	Region       string
	Zone         string
	URIs         []string
	CapacityMbps float64
	RxMbps       float64
	TxMbps       float64
	Allocations  int
	State        string
	Generation   uint64
	Mode         string // how clients authenticate; "" = user: all of them with one credential
	Seq          uint64 // counts writes, so that a reader sees life without trusting our clock
	TS           int64  // milliseconds since the epoch
	IntervalSec  float64
	Version      string

	// Unknown holds the keys of a later version, kept when the record is encoded again.
	Unknown map[string]json.RawMessage
}

// The states of a record: up, or the first reason why a node is not to be used.
const (
	StateUp            = "up"
	StateWarming       = "warming"        // nothing has been measured yet
	StateFull          = "full"           // 486 or 508
	StateDown          = "down"           // it does not serve
	StateDraining      = "draining"       // it is about to stop
	StateMaintenance   = "maintenance"    // an operator says so
	StateForeignServer = "foreign_server" // somebody else has its port
)

// field is one key of the record and the value it stands for.
type field struct {
	key   string
	value any
}

// fields lists the keys in the order in which they are written. The seed's two come
// first: readers of old match the bytes `{"freeTraffic":812.4,"restAddr":"…"`.
func (r *Record) fields() []field {
	return []field{
		{"freeTraffic", (*mbps)(&r.FreeTraffic)},
		{"restAddr", &r.RESTAddr},
		{"v", &r.V},
		{"restScheme", &r.RESTScheme},
		{"node", &r.Node},
		{"region", &r.Region},
		{"zone", &r.Zone},
		{"uris", (*uris)(&r.URIs)},
		{"capacityMbps", (*mbps)(&r.CapacityMbps)},
		{"rxMbps", (*mbps)(&r.RxMbps)},
		{"txMbps", (*mbps)(&r.TxMbps)},
		{"allocations", &r.Allocations},
		{"state", &r.State},
		{"generation", &r.Generation},
		{"mode", &r.Mode},
		{"seq", &r.Seq},
		{"ts", &r.TS},
		{"intervalSec", &r.IntervalSec},
		{"version", &r.Version},
	}
}

// Encode writes the record as JSON, the known keys first and always all of them but
// mode, which is there only where it says something.
func (r Record) Encode() []byte {
	out := []byte{'{'}
	add := func(key string, value any) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		name, _ := json.Marshal(key) // A string always encodes.
		text, err := json.Marshal(value)
		if err != nil {
			text = []byte("null") // Only a hand-made Unknown or a NaN interval gets here.
		}
		out = append(append(append(out, name...), ':'), text...)
	}
	for _, f := range r.fields() {
		if f.key != "mode" || r.Mode != "" {
			add(f.key, f.value)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(r.Unknown)) {
		add(key, r.Unknown[key])
	}
	return append(out, '}')
}

// Decode reads a record. The seed's two keys are enough; more keys than we know are
// kept. What is in it was written by another host and is not to be trusted.
func Decode(data []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(data, &r.Unknown); err != nil {
		return Record{}, fmt.Errorf("decode record: %w", err)
	}
	for i, f := range r.fields() {
		text, ok := r.Unknown[f.key]
		if !ok && i < 2 {
			return Record{}, fmt.Errorf("decode record: no %s", f.key)
		}
		if !ok {
			continue
		}
		if err := json.Unmarshal(text, f.value); err != nil {
			return Record{}, fmt.Errorf("decode record: %s: %w", f.key, err)
		}
		delete(r.Unknown, f.key)
	}
	if r.RESTAddr == "" {
		return Record{}, errors.New("decode record: restAddr is empty")
	}
	if len(r.Unknown) == 0 {
		r.Unknown = nil
	}
	return r, nil
}

// mbps always shows exactly one decimal and is never negative: the seed's readers
// compare it as it stands. What is no number at all counts as nothing free.
type mbps float64

func (m mbps) MarshalJSON() ([]byte, error) {
	v := float64(m)
	if !(v > 0) || math.IsInf(v, 1) { // Written so that NaN, which fails every comparison, ends here too.
		v = 0
	}
	return strconv.AppendFloat(nil, v, 'f', 1, 64), nil
}

func (m *mbps) UnmarshalJSON(text []byte) error {
	var v float64
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	*m = mbps(max(v, 0))
	return nil
}

// uris is a list even when it is empty, for readers that iterate without a look.
type uris []string

func (u uris) MarshalJSON() ([]byte, error) {
	return json.Marshal(append([]string{}, u...))
}
