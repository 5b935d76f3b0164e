package transport_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/registry"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/service/traffic"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/transporttest"
)

// busy is a node of which there is something to tell everywhere.
func busy(now time.Time) service.Status {
	return service.Status{
		Coturn: "4.99.0", Untried: true,
		At: now, Node: "turn-1", RotateEvery: 12 * time.Hour,
		Child: supervisor.Child{
			State: supervisor.Running, PID: 7, StartedAt: now.Add(-time.Hour), Restarts: 1,
			LastExit: supervisor.Exit{Code: -1, Signal: "SIGSEGV", At: now.Add(-time.Hour)},
		},
		Probe: probe.Result{PID: 7, At: now, Serving: true, Served: true, Authenticated: true, Full: true, FullCode: 486, RTT: 3 * time.Millisecond},
		Credential: credential.Status{
			Active: 7, Published: now.Add(-time.Minute), Expires: now.Add(time.Hour), DeletesPending: 2,
			Generations: []credential.GenerationStatus{{ID: 7, State: credential.Active, Published: now.Add(-time.Minute), Expires: now.Add(time.Hour), Fetched: true}},
		},
		Traffic: traffic.Sample{
			At: now, Ready: true, RxBytesPerSecond: 125000, TxBytesPerSecond: 250000, CapacityBytesPerSecond: 125e6, FreeMbps: 998,
			Devices: []traffic.DeviceSample{{Name: "eth0"}, {Name: "eth1"}}, Interval: 10 * time.Second,
		},
		Sessions:    service.SessionCounts{SessionTotals: coturn.SessionTotals{Open: 3, Created: 40}},
		Registry:    &registry.Status{Registered: true, LastPublish: now, Session: directory.Status{State: directory.Connected}},
		Journal:     []service.Line{{At: now, Level: slog.LevelWarn, Part: "probe", Text: "no answer", Detail: "attempt=1"}},
		Maintenance: now.Add(-time.Minute),
		Commands:    service.Commands{MaintenanceOff: "turnwarden maintenance off"},
	}
}

const busyBody = `{"node":"turn-1","version":"","at":"2000-01-01T00:00:00Z","state":"maintenance","ready":false,` +
	`"reasons":["maintenance: since 1999-12-31T23:59:00Z, until turnwarden maintenance off","full: the TURN server answers 486 to an Allocate"],` +
	`"notes":["coturn 4.99.0 is newer than 4.18.0, the newest that this turnwarden was tried with: compare its counters with turnserver's own"],` +
	`"draining":false,"maintenance_since":"1999-12-31T23:59:00Z",` +
	`"turn_server":{"state":"running","pid":7,"started":"1999-12-31T23:00:00Z","restarts":1,"last_exit":"signal SIGSEGV","last_exit_at":"1999-12-31T23:00:00Z","allocations":3,"allocations_created":40},` +
	`"probe":{"serving":true,"at":"2000-01-01T00:00:00Z","rtt_seconds":0.003,"failures":0,"full":true},` +
	`"credential":{"generation":7,"published":"1999-12-31T23:59:00Z","expires":"2000-01-01T01:00:00Z","rotate_every_seconds":43200,"deletes_pending":2,` +
	`"generations":[{"id":7,"state":"active","published":"1999-12-31T23:59:00Z","expires":"2000-01-01T01:00:00Z","fetched":true}]},` +
	`"traffic":{"at":"2000-01-01T00:00:00Z","interfaces":["eth0","eth1"],"rx_mbps":1,"tx_mbps":2,"capacity_mbps":1000,"free_mbps":998},` +
	`"registry":{"session":"connected","registered":true,"last_write":"2000-01-01T00:00:00Z"},` +
	`"troubles":[{"at":"2000-01-01T00:00:00Z","level":"WARN","part":"probe","message":"no answer","detail":"attempt=1"}]}`

// zeroBody: what there is not is not there, or empty, and never null.
const zeroBody = `{"node":"","version":"","at":"0001-01-01T00:00:00Z","state":"down","ready":false,` +
	`"reasons":["child: ","credential: none that is verified and valid","traffic: not measured yet"],"draining":false,` +
	`"turn_server":{"state":"","restarts":0,"allocations":0,"allocations_created":0},` +
	`"probe":{"serving":false,"rtt_seconds":0,"failures":0,"full":false},` +
	`"credential":{"generation":0,"rotate_every_seconds":0,"deletes_pending":0,"generations":[]},` +
	`"traffic":{"interfaces":[],"rx_mbps":0,"tx_mbps":0,"capacity_mbps":0,"free_mbps":0},"troubles":[]}`

func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // for a time that is known
		for name, c := range map[string]struct {
			status service.Status
			want   string
		}{"busy": {busy(time.Now().UTC()), busyBody}, "zero": {service.Status{}, zeroBody}} {
			h := transport.NewAPIHandler(transport.NewEndpoints(good), transporttest.Plain, transport.APIOptions{Status: func() service.Status { return c.status }})
			w := call(h, "GET", "/v1/status", anywhere)
			if diff := cmp.Diff(c.want, w.Body.String()); diff != "" || w.Code != http.StatusOK {
				t.Errorf("%s: %d (-want +got):\n%s", name, w.Code, diff)
			}
			if got := w.Header(); got.Get("Content-Type") != asJSON || got.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: header %v", name, got)
			}
			var back transport.Status
			if err := json.Unmarshal(w.Body.Bytes(), &back); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if diff := cmp.Diff(transport.NewStatus(c.status), back); diff != "" {
				t.Errorf("%s read back:\n%s", name, diff)
			}
		}
	})
}
