package transport

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	kithttp "github.com/go-kit/kit/transport/http"

	"github.com/turnwarden/turnwarden/service"
)

// Server is a node of the fleet as GET /v1/pick and GET /v1/fleet tell of it.
type Server struct {
	Node         string   `json:"node"`
	State        string   `json:"state"`
	Region       string   `json:"region"`
	Zone         string   `json:"zone"`
	URIs         []string `json:"uris"`
	RESTAddr     string   `json:"rest_addr"`
	FreeMbps     float64  `json:"free_mbps"`
	CapacityMbps float64  `json:"capacity_mbps"`
	RxMbps       float64  `json:"rx_mbps"`
	TxMbps       float64  `json:"tx_mbps"`
	Allocations  int      `json:"allocations"`
	Generation   uint64   `json:"generation"`
	AgeSeconds   float64  `json:"age_seconds"`    // since its record was last written, as far as we saw
	Held         bool     `json:"held,omitempty"` // its record vanished with most of the fleet
	Version      string   `json:"version"`
}

func serverOf(s service.Server, now time.Time) Server {
	return Server{
		Node: s.Name, State: s.State, Region: s.Region, Zone: s.Zone, URIs: append([]string{}, s.URIs...), RESTAddr: s.RESTAddr,
		FreeMbps: s.FreeMbps, CapacityMbps: s.CapacityMbps, RxMbps: s.RxMbps, TxMbps: s.TxMbps, Allocations: s.Allocations,
		Generation: s.Generation, AgeSeconds: float64(now.Sub(s.Written).Milliseconds()) / 1000, Held: s.Held, Version: s.Version,
	}
}

// FleetStatus is what GET /v1/fleet tells. It holds no secret.
type FleetStatus struct {
	At        time.Time `json:"at"`
	Live      bool      `json:"live"` // this is so now, and not just the last that was seen
	Seen      time.Time `json:"seen,omitzero"`
	ZooKeeper string    `json:"zookeeper"`
	Error     string    `json:"error,omitzero"`
	Rejected  int       `json:"rejected"` // records that make no sense
	Nodes     []Server  `json:"nodes"`
}

// NewFleetStatus tells of a fleet what may be told.
func NewFleetStatus(s *service.Fleet, session service.Session, now time.Time) FleetStatus {
	t := FleetStatus{
		At: now, Live: s.Live(now), Seen: s.Confirmed, ZooKeeper: string(session.State), Error: session.LastError,
		Rejected: s.Rejected, Nodes: make([]Server, 0, len(s.Nodes)),
	}
	for _, n := range s.Nodes {
		t.Nodes = append(t.Nodes, serverOf(service.ServerOf(n), now))
	}
	return t
}

func fleetHandler(status func() service.GatewayStatus) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s := status()
		body, _ := json.Marshal(NewFleetStatus(s.Fleet, s.Session, s.At)) // of strings, numbers, booleans and times of this era
		write(w, http.StatusOK, applicationJSON, body)
	})
}

func picks(e Endpoints) http.Handler {
	return kithttp.NewServer(e.Pick, decodePick, encodePick, kithttp.ServerErrorEncoder(encodeError(problem)))
}

const (
	maxPick   = 8
	maxWord   = 64
	maxClient = 256
)

func decodePick(_ context.Context, r *http.Request) (any, error) {
	q := r.URL.Query()
	p := service.PickRequest{N: 1, Region: q.Get("region"), Zone: q.Get("zone"), Client: q.Get("client")}
	if s := q.Get("n"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxPick {
			return nil, fmt.Errorf("%w: n: accepted is a number from 1 to %d", service.ErrBadRequest, maxPick)
		}
		p.N = n
	}
	for _, word := range []struct {
		name string
		most int
	}{{"region", maxWord}, {"zone", maxWord}, {"client", maxClient}} {
		if utf8.RuneCountInString(q.Get(word.name)) > word.most {
			return nil, fmt.Errorf("%w: %s: accepted are %d characters at most", service.ErrBadRequest, word.name, word.most)
		}
	}
	return p, nil
}

func encodePick(_ context.Context, w http.ResponseWriter, response any) error {
	now := time.Now()
	var reply struct {
		Servers []Server `json:"servers"`
	}
	for _, s := range response.([]service.Server) {
		reply.Servers = append(reply.Servers, serverOf(s, now))
	}
	body, _ := json.Marshal(reply) // of strings, numbers and booleans
	write(w, http.StatusOK, applicationJSON, body)
	return nil
}
