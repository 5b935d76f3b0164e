package transport

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/prometheus/common/version"

	"github.com/turnwarden/turnwarden/service"
)

// Status is what GET /v1/status tells of a node. It holds no secret, and no username.
type Status struct {
	Node        string           `json:"node"`
	Version     string           `json:"version"`
	At          time.Time        `json:"at"`
	State       string           `json:"state"`
	Ready       bool             `json:"ready"`
	Reasons     []string         `json:"reasons"`         // why it is not up, the weightiest first
	Notes       []string         `json:"notes,omitempty"` // what is to be seen to although it is up
	Draining    bool             `json:"draining"`
	Maintenance time.Time        `json:"maintenance_since,omitzero"`
	Server      ServerStatus     `json:"turn_server"`
	Probe       ProbeStatus      `json:"probe"`
	Credential  CredentialStatus `json:"credential"`
	Traffic     TrafficStatus    `json:"traffic"`
	Registry    *RegistryStatus  `json:"registry,omitempty"` // nil = standalone
	Troubles    []Trouble        `json:"troubles"`           // the last warnings and errors, newest first
}

// ServerStatus is the child.
type ServerStatus struct {
	State       string    `json:"state"`
	PID         int       `json:"pid,omitzero"`
	Started     time.Time `json:"started,omitzero"`
	NextStart   time.Time `json:"next_start,omitzero"`
	Restarts    int       `json:"restarts"`
	KeptDown    string    `json:"kept_down,omitzero"`
	StartError  string    `json:"start_error,omitzero"`
	LastExit    string    `json:"last_exit,omitzero"`
	LastExitAt  time.Time `json:"last_exit_at,omitzero"`
	Allocations int       `json:"allocations"`
	Created     uint64    `json:"allocations_created"`
}

// ProbeStatus is the last verdict of the prober.
type ProbeStatus struct {
	Serving    bool      `json:"serving"`
	At         time.Time `json:"at,omitzero"`
	RTTSeconds float64   `json:"rtt_seconds"`
	Failures   int       `json:"failures"`
	Full       bool      `json:"full"`
	Error      string    `json:"error,omitzero"`
}

// CredentialStatus is what is handed out, by its number.
type CredentialStatus struct {
	Generation         uint64             `json:"generation"` // 0 = none
	Published          time.Time          `json:"published,omitzero"`
	Expires            time.Time          `json:"expires,omitzero"`
	RotateEverySeconds float64            `json:"rotate_every_seconds"`
	Failure            string             `json:"failure,omitzero"`
	DeletesPending     int                `json:"deletes_pending"`
	Generations        []GenerationStatus `json:"generations"`
}

// GenerationStatus is one that is on record.
type GenerationStatus struct {
	ID        uint64    `json:"id"`
	State     string    `json:"state"`
	Published time.Time `json:"published,omitzero"`
	Expires   time.Time `json:"expires,omitzero"`
	Fetched   bool      `json:"fetched"`
}

// TrafficStatus is the last sample.
type TrafficStatus struct {
	At           time.Time `json:"at,omitzero"`
	Interfaces   []string  `json:"interfaces"`
	RxMbps       float64   `json:"rx_mbps"`
	TxMbps       float64   `json:"tx_mbps"`
	CapacityMbps float64   `json:"capacity_mbps"`
	FreeMbps     float64   `json:"free_mbps"`
	Error        string    `json:"error,omitzero"`
}

// RegistryStatus is where the record stands.
type RegistryStatus struct {
	Session    string    `json:"session"`
	Registered bool      `json:"registered"`
	LastWrite  time.Time `json:"last_write,omitzero"`
	Conflict   string    `json:"conflict,omitzero"`
	Error      string    `json:"error,omitzero"`
}

// Trouble is a line of the log.
type Trouble struct {
	At      time.Time `json:"at"`
	Level   string    `json:"level"`
	Part    string    `json:"part"`
	Message string    `json:"message"`
	Detail  string    `json:"detail,omitzero"`
}

// NewStatus tells of a node what may be told.
func NewStatus(s service.Status) Status {
	reasons := service.Readiness(s)
	t := Status{
		Node: s.Node, Version: version.Version, At: s.At, State: service.State(reasons), Ready: service.Ready(reasons), Reasons: []string{}, Notes: service.Notes(s),
		Draining: s.Draining || s.Stopping, Maintenance: s.Maintenance,
		Server: ServerStatus{
			State: string(s.Child.State), PID: s.Child.PID, Started: s.Child.StartedAt, NextStart: s.Child.NextStart, Restarts: s.Child.Restarts,
			KeptDown: s.Child.HaltCause, StartError: s.Child.StartError, LastExitAt: s.Child.LastExit.At,
			Allocations: s.Sessions.Open, Created: s.Sessions.Created,
		},
		Probe: ProbeStatus{
			Serving: s.Probe.Serving, At: s.Probe.At, RTTSeconds: s.Probe.RTT.Seconds(), Failures: s.Probe.Failures, Full: s.Probe.Full, Error: s.Probe.Err,
		},
		Credential: CredentialStatus{
			Generation: s.Credential.Active, Published: s.Credential.Published, Expires: s.Credential.Expires, RotateEverySeconds: s.RotateEvery.Seconds(),
			Failure: s.Credential.Failure, DeletesPending: s.Credential.DeletesPending, Generations: []GenerationStatus{},
		},
		Traffic: TrafficStatus{
			At: s.Traffic.At, Interfaces: []string{}, RxMbps: s.Traffic.RxBytesPerSecond * 8 / 1e6, TxMbps: s.Traffic.TxBytesPerSecond * 8 / 1e6,
			CapacityMbps: s.Traffic.CapacityBytesPerSecond * 8 / 1e6, FreeMbps: s.Traffic.FreeMbps, Error: s.Traffic.Err,
		},
		Troubles: []Trouble{},
	}
	for _, r := range reasons {
		t.Reasons = append(t.Reasons, r.Text)
	}
	if e := s.Child.LastExit; !e.At.IsZero() {
		t.Server.LastExit = e.String()
	}
	for _, g := range s.Credential.Generations {
		t.Credential.Generations = append(t.Credential.Generations, GenerationStatus{g.ID, string(g.State), g.Published, g.Expires, g.Fetched})
	}
	for _, d := range s.Traffic.Devices {
		t.Traffic.Interfaces = append(t.Traffic.Interfaces, d.Name)
	}
	if r := s.Registry; r != nil {
		t.Registry = &RegistryStatus{string(r.Session.State), r.Registered, r.LastPublish, r.Conflict, r.LastError}
	}
	for _, l := range s.Journal {
		t.Troubles = append(t.Troubles, Trouble{l.At, l.Level.String(), l.Part, l.Text, l.Detail})
	}
	return t
}

// StatusHandler answers GET /v1/status.
func StatusHandler(status func() service.Status) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		body, _ := json.Marshal(NewStatus(status())) // of strings, numbers, booleans and times of this era
		write(w, http.StatusOK, applicationJSON, body)
	})
}
