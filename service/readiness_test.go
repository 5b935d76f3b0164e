package service_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/service/traffic"
)

// up is a node without a reason against it.
func up() service.Status {
	at := time.UnixMilli(1790000000000)
	return service.Status{
		Commands:   service.Commands{Resume: "turnwarden resume", MaintenanceOff: "turnwarden maintenance off"},
		At:         at,
		Child:      supervisor.Child{State: supervisor.Running, PID: 7},
		Probe:      probe.Result{PID: 7, Serving: true, Served: true, Authenticated: true},
		Credential: credential.Status{Active: 1},
		Traffic:    traffic.Sample{At: at, Ready: true, Interval: time.Second},
	}
}

func TestReadiness(t *testing.T) {
	died := supervisor.Exit{Code: -1, Signal: "SIGSEGV", Cause: supervisor.ReasonSignal, At: up().At}
	for name, c := range map[string]struct {
		change  func(*service.Status)
		state   string
		ready   bool
		reasons []string
	}{
		"up":       {func(*service.Status) {}, service.StateUp, true, nil},
		"draining": {func(s *service.Status) { s.Draining = true }, service.StateDraining, false, []string{"draining"}},
		"stopping": {func(s *service.Status) { s.Draining, s.Stopping = true, true }, service.StateDraining, false, []string{"stopping"}},
		"in maintenance": {
			func(s *service.Status) { s.Maintenance = time.Unix(0, 0).UTC() }, service.StateMaintenance, false,
			[]string{"maintenance: since 1970-01-01T00:00:00Z, until turnwarden maintenance off"},
		},
		"drained for maintenance, the child down": {
			func(s *service.Status) {
				s.Draining, s.Maintenance, s.Child = true, time.Unix(0, 0).UTC(), supervisor.Child{State: supervisor.Stopped}
			}, service.StateDraining, false,
			[]string{"draining", "maintenance: since 1970-01-01T00:00:00Z, until turnwarden maintenance off", "child: stopped"},
		},
		"foreign server": {
			func(s *service.Status) { s.Probe.Foreign = "turnserver 4711 has port 3478" }, service.StateForeignServer, false,
			[]string{"foreign_server: turnserver 4711 has port 3478"},
		},
		"killed as an open relay": {
			func(s *service.Status) {
				s.Child = supervisor.Child{State: supervisor.Stopped, HaltCause: service.OpenRelay, LastExit: died}
			},
			service.StateDown, false,
			[]string{"open_relay: the TURN server was killed and stays down until its configuration changes and turnwarden is restarted"},
		},
		"not started": {
			func(s *service.Status) {
				s.Child = supervisor.Child{State: supervisor.Backoff, StartError: "turnserver: no such file", LastExit: died}
			},
			service.StateDown, false,
			[]string{"child: not started: turnserver: no such file"},
		},
		"died by a signal": {
			func(s *service.Status) { s.Child = supervisor.Child{State: supervisor.Backoff, LastExit: died} },
			service.StateDown, false,
			[]string{"child: backoff after signal SIGSEGV"},
		},
		"ended by itself": {
			func(s *service.Status) {
				s.Child = supervisor.Child{State: supervisor.Starting, LastExit: supervisor.Exit{Code: 255, At: up().At}}
			},
			service.StateDown, false,
			[]string{"child: starting after exit code 255"},
		},
		"starting": {
			func(s *service.Status) { s.Child = supervisor.Child{State: supervisor.Starting} },
			service.StateDown, false,
			[]string{"child: starting"},
		},
		"verdict on the run before": {
			func(s *service.Status) { s.Child.PID = 8 }, service.StateDown, false,
			[]string{"probe: the TURN server has not answered yet"},
		},
		"no answer so far": {
			func(s *service.Status) { s.Probe = probe.Result{PID: 7, Failures: 2, Err: "bind: no answer"} }, service.StateDown, false,
			[]string{"probe: the TURN server has not served yet: bind: no answer"},
		},
		"hangs": {
			func(s *service.Status) { s.Probe.Serving, s.Probe.Failures, s.Probe.Err = false, 3, "bind: no answer" }, service.StateDown, false,
			[]string{"probe: not serving: bind: no answer"},
		},
		"hangs and is being stopped": {
			func(s *service.Status) {
				s.Probe = probe.Result{}
				s.Child.State, s.Child.StopReason = supervisor.Stopping, supervisor.ReasonProbe
			}, service.StateDown, false,
			[]string{"child: stopping, reason probe"},
		},
		"one failed probe": {func(s *service.Status) { s.Probe.Failures, s.Probe.Err = 1, "bind: no answer" }, service.StateUp, true, nil},
		"no credential": {
			func(s *service.Status) { s.Credential.Active = 0 }, service.StateDown, false,
			[]string{"credential: none that is verified and valid"},
		},
		"quota reached": {
			func(s *service.Status) { s.Probe.Full, s.Probe.FullCode = true, 486 }, service.StateFull, true,
			[]string{"full: the TURN server answers 486 to an Allocate"},
		},
		"no relay port": {
			func(s *service.Status) { s.Probe.Full, s.Probe.FullCode = true, 508 }, service.StateFull, true,
			[]string{"full: the TURN server answers 508 to an Allocate"},
		},
		"not measured": {
			func(s *service.Status) { s.Traffic = traffic.Sample{Interval: time.Second} }, service.StateWarming, true,
			[]string{"traffic: not measured yet"},
		},
		"measured three intervals ago": {func(s *service.Status) { s.Traffic.At = s.At.Add(-3 * time.Second) }, service.StateUp, true, nil},
		"measured before that": {
			func(s *service.Status) { s.Traffic.At, s.Traffic.Err = s.At.Add(-3*time.Second-1), "eth0 is gone" }, service.StateWarming, true,
			[]string{"traffic: no sample for three intervals: eth0 is gone"},
		},
		"everything at once": {
			func(s *service.Status) {
				*s = service.Status{Draining: true, Probe: probe.Result{Foreign: "uid 0", Full: true, FullCode: 486}, Child: supervisor.Child{State: supervisor.Stopped}}
			}, service.StateDraining, false,
			[]string{
				"draining", "foreign_server: uid 0", "child: stopped", "credential: none that is verified and valid",
				"full: the TURN server answers 486 to an Allocate", "traffic: not measured yet",
			},
		},
		"somebody else's server, ours down": {
			func(s *service.Status) {
				s.Probe.Foreign = "uid 0"
				s.Child = supervisor.Child{State: supervisor.Stopped}
			}, service.StateForeignServer, false, []string{"foreign_server: uid 0", "child: stopped"},
		},
		"full and down": {
			func(s *service.Status) {
				s.Probe.Full, s.Probe.FullCode, s.Probe.Serving, s.Probe.Err = true, 486, false, "bind: no answer"
			},
			service.StateDown, false,
			[]string{"probe: not serving: bind: no answer", "full: the TURN server answers 486 to an Allocate"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			status := up()
			c.change(&status)
			reasons := service.Readiness(status)
			var got []string
			for _, r := range reasons {
				got = append(got, r.Text)
			}
			if diff := cmp.Diff(c.reasons, got); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
			if state, ready := service.State(reasons), service.Ready(reasons); state != c.state || ready != c.ready {
				t.Errorf("got %s, ready %t; want %s, ready %t", state, ready, c.state, c.ready)
			}
			// What an operator wants says nothing about the server.
			status.Draining, status.Stopping, status.Maintenance = true, true, time.Now()
			planned := service.Readiness(status)
			if service.Ready(planned) || service.Serves(planned) != service.Serves(reasons) {
				t.Errorf("with every plan: ready %t, serves %t", service.Ready(planned), service.Serves(planned))
			}
		})
	}
}

// TestPublicTypesHoldNoSecret looks at what /metrics, /-/ready and ZooKeeper are
// made of.
func TestPublicTypesHoldNoSecret(t *testing.T) {
	secret := reflect.TypeFor[credential.Secret]()
	seen := map[reflect.Type]bool{}
	var look func(path string, typ reflect.Type)
	look = func(path string, typ reflect.Type) {
		if typ == secret {
			t.Errorf("%s is a secret", path)
		}
		if seen[typ] {
			return
		}
		seen[typ] = true
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
			look(path+"[]", typ.Elem())
		case reflect.Struct:
			for f := range typ.Fields() {
				if name := strings.ToLower(f.Name); strings.Contains(name, "password") || strings.Contains(name, "username") {
					t.Errorf("%s.%s is half of a credential", path, f.Name)
				}
				look(path+"."+f.Name, f.Type)
			}
		}
	}
	look("Status", reflect.TypeFor[service.Status]())
	look("Record", reflect.TypeFor[directory.Record]())
	if !seen[reflect.TypeFor[credential.GenerationStatus]()] || !seen[reflect.TypeFor[probe.Result]()] {
		t.Error("the search did not reach the parts")
	}
}
