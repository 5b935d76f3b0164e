package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// An otherFault is a row that goes a way of its own: its fault is there when turnwarden or
// its child starts or ends, or concerns some of the clients.
type otherFault struct {
	name    string
	clients string
	bound   time.Duration // until it is noticed
	within  time.Duration // until clients are served; 0 = it has no bound
	once    bool          // it takes too long to be caused again
	held    func(t *testing.T)
	run     func(t *testing.T) times
}

var otherFaults = []otherFault{
	{
		// 0.1 + 0.2 + 0.4 + 0.8 + 1 s between the starts, a fifth more at the most.
		name: "crash loop: five starts end at once, the sixth serves", within: 3*time.Second + 5*time.Second,
		clients: "nobody answers; the pause between the starts doubles from restart_delay (0.1 s here) to restart_delay_max (1 s)",
		run: func(t *testing.T) times {
			o := tableOptions()
			o.set["coturn.turnserver"] = fragile(t, 5)
			return offered(t, tableHost(t, o))
		},
	},
	{
		name: "an orphan of a killed turnwarden runs", within: 2 * time.Second,
		clients: "its calls end: it is killed before another is started",
		run: func(t *testing.T) times {
			h := tableHost(t, tableOptions())
			h.serve(t)
			h.end(t)
			rendered := filepath.Join(h.dir, "state", "turnserver.conf")
			orphan := exec.Command("turnserver", "-c", rendered)
			exited := realtest.Spawn(t, orphan, filepath.Join(h.dir, "orphan.log"))
			realtest.Eventually(t, 10*time.Second, func() error { return probe.Binding(t.Context(), h.addr()) })
			x := offered(t, h)
			select {
			case <-exited:
			default:
				t.Error("the orphan runs on")
			}
			if pid := h.child(t); pid == orphan.Process.Pid {
				t.Error("the orphan was taken for a child")
			}
			return x
		},
	},
	{
		name: "another turnserver has the port at the start", bound: probeBound,
		clients: "the other one; turnwarden ends with exit code 2 and says whose port it is",
		run: func(t *testing.T) times {
			h := tableHost(t, tableOptions())
			twin := realtest.StartTurnServer(t, realtest.TurnOptions{Addr: h.addr()})
			defer twin.Kill(t)
			began := time.Now()
			h.start(t)
			if code := h.wait(t, 10*time.Second); code != 2 || !strings.Contains(h.tail(), fmt.Sprintf("pid %d", twin.PID())) {
				t.Errorf("exit code %d:\n%s", code, h.tail())
			}
			return times{noticed: time.Since(began)}
		},
	},
	{
		name: "the child misses its configuration and is an open relay", bound: probeBound,
		clients: "nothing is handed out; who knows the address could relay for the time in the next column, then the child is dead and stays so",
		run: func(t *testing.T) times {
			o := tableOptions()
			o.set["coturn.turnserver"] = unconfigured(t)
			h := tableHost(t, o)
			h.start(t)
			neverOffered(t, h, "open_relay", 2*time.Second)
			return times{noticed: logged(t, h, `msg="turnserver ended as asked"`).Sub(logged(t, h, `msg="turnserver started"`))}
		},
	},
	{
		name:    "the child has another userdb",
		clients: "401 to everybody: nothing is handed out or offered, and the reason says so",
		run: func(t *testing.T) times {
			o := tableOptions()
			o.set["coturn.turnserver"] = careless(t, "s|^userdb=.*|userdb="+filepath.Join(t.TempDir(), "other")+"|")
			h := tableHost(t, o)
			h.start(t)
			return times{noticed: neverOffered(t, h, "credential: none that is verified and valid: prove generation 1", 5*time.Second)}
		},
	},
	{
		name: "the child cannot bind its address", once: true,
		clients: "no answer: nothing is handed out or offered. coturn gives up by itself after 60 s, and is started again",
		run: func(t *testing.T) times {
			o := tableOptions()
			o.set["coturn.turnserver"] = careless(t, "s/^listening-ip=.*/listening-ip=198.51.100.7/")
			h := tableHost(t, o)
			h.start(t)
			limit := 3 * time.Second
			if os.Getenv("TURNWARDEN_FAULTS") != "" {
				limit = 62 * time.Second
			}
			neverOffered(t, h, "the TURN server has not served yet: ", limit)
			return times{}
		},
	},
	{
		name: "slow SIGTERM: turnwarden is stopped, and its child (4.17) goes on for 4.5 s as if nothing were", bound: atOnce,
		clients: "a call that begins in these seconds is served and then cut, and nobody is sent there or gets a credential; it is waited for, for stop_timeout (15 s here), before turnwarden is started again",
		run:     slowSIGTERM,
	},
	{
		name: "TLS fails alone: the certificate that it was told to read again has expired", bound: hangBound, within: recoveryBound, held: TestTLSFailsAlone,
		clients: "TLS clients refuse the handshake, the others are served: it stays offered, with a note in /-/ready. Over with a good one and turnwarden reload",
		run:     tlsFails,
	},
}

// slowSIGTERM stops turnwarden, looks at what clients can do meanwhile, and starts it
// again.
func slowSIGTERM(t *testing.T) (x times) {
	o := tableOptions()
	o.set["coturn.turnserver"], o.set["coturn.stop_timeout"] = installFakeCoturn(t, "4.17.1"), "15s"
	h := tableHost(t, o)
	h.serve(t)
	s := mustFetch(t, h.rest())
	child := h.child(t)
	began := time.Now()
	h.signal(t, syscall.SIGTERM)
	x.noticed = h.unready(t, began, 10*time.Second, func() bool { return false })
	serves(t, h, s, 2*time.Second) // in the first of those seconds; the next line may take some
	realtest.Eventually(t, 3*time.Second, func() error {
		if _, err := fetch(h.rest()); err == nil {
			return errors.New("a credential is handed out")
		}
		return nil
	})
	if now := h.child(t); now != child {
		t.Errorf("nobody is served by %d while %d ends", now, child)
	}
	if code := h.wait(t, 30*time.Second); code != 0 || h.child(t) != 0 {
		t.Errorf("exit code %d, child %d", code, h.child(t))
	}
	ended := logged(t, h, `msg="turnserver ended as asked"`)
	if took := ended.Sub(began); took < 4*time.Second || !strings.Contains(h.tail(), "reason=shutdown end=\"exit code 0\"") {
		t.Errorf("the child was given %v to end:\n%s", took, h.tail())
	}
	h.serve(t)
	x.served = time.Since(began) - x.noticed
	x.listed = x.served
	return x
}

// tlsFails has turnserver read a certificate that has expired, as the hook of a renewal
// gone wrong does, and then the good one again.
func tlsFails(t *testing.T) (x times) {
	now := time.Now()
	cert, key := realtest.Certificate(t, "turn.example.org", now.Add(-time.Hour), now.AddDate(0, 0, 30))
	oldCert, oldKey := realtest.Certificate(t, "turn.example.org", now.AddDate(0, 0, -30), now.Add(-time.Hour))
	o := tableOptions()
	o.conf = []string{"cert=" + cert, "pkey=" + key}
	h := tableHost(t, o)
	good, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(good)
	handshake := func() error {
		c, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Second}, "tcp", net.JoinHostPort(h.ip, "5349"), &tls.Config{RootCAs: trusted, ServerName: "turn.example.org"})
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	h.serve(t)
	s := mustFetch(t, h.rest())
	h.becomes(t, `turnwarden_probe_success{transport="tls"} 1`)
	child := h.child(t)

	exchange(t, cert, oldCert)
	exchange(t, key, oldKey)
	began := time.Now()
	signalChild(t, h, syscall.SIGUSR2)
	realtest.Eventually(t, 20*time.Second, func() error {
		if notes := h.notes(t); !strings.Contains(notes, "note: probe: tls fails, and with it its clients: ") { // fails the test if it is not ready
			return fmt.Errorf("ready says %q", notes)
		}
		return nil
	})
	x.noticed = time.Since(began)
	if err := handshake(); err == nil {
		t.Error("the fault is none: a client takes the certificate")
	}
	serves(t, h, s, 10*time.Second)

	exchange(t, cert, oldCert)
	exchange(t, key, oldKey)
	began = time.Now()
	if out, code := h.ask(t, "reload"); code != 0 {
		t.Errorf("reload: %d\n%s", code, out)
	}
	realtest.Eventually(t, 10*time.Second, handshake)
	x.served = time.Since(began)
	h.becomes(t, `turnwarden_probe_success{transport="tls"} 1`)
	if now := h.child(t); now != child {
		t.Errorf("the child is %d and was %d", now, child)
	}
	return x
}

// unconfigured is a turnserver that does not find its file, as one that its user may not
// read. It is told where to listen, to stay off the ports of others.
func unconfigured(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "turnserver")
	const script = `#!/bin/sh
case "$*" in *--version*) exec turnserver --version;; esac
where=$(sed -En 's/^(listening-ip|listening-port|relay-ip|min-port|max-port)=/--&/p' "$2")
shift 2
exec turnserver -c /nowhere/turnserver.conf $where --no-cli "$@"
`
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// logged is when turnwarden wrote the first line with these words.
func logged(t *testing.T, h *host, words string) time.Time {
	t.Helper()
	for line := range strings.Lines(h.log(t)) {
		if stamp, ok := strings.CutPrefix(line, "time="); ok && strings.Contains(line, words) {
			stamp, _, _ = strings.Cut(stamp, " ")
			at, err := time.Parse(time.RFC3339Nano, stamp)
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
	}
	t.Fatalf("no line with %s", words)
	return time.Time{}
}

// offered starts turnwarden and times its way to readiness.
func offered(t *testing.T, h *host) times {
	t.Helper()
	began := time.Now()
	h.serve(t)
	return times{served: time.Since(began), listed: time.Since(began)}
}

// neverOffered watches a host for so long: it names the reason, is not ready and hands
// nothing out. It returns when the reason was there.
func neverOffered(t *testing.T, h *host, reason string, d time.Duration) (noticed time.Duration) {
	t.Helper()
	started := time.Now()
	realtest.Eventually(t, 30*time.Second, func() error {
		_, body, err := h.get("/-/ready")
		if err == nil && !strings.Contains(body, reason) {
			err = fmt.Errorf("ready says %q", body)
		}
		return err
	})
	noticed = time.Since(started)
	began := time.Now()
	realtest.Eventually(t, d+10*time.Second, func() error {
		if code, body, err := h.get("/-/ready"); err == nil && code == http.StatusOK {
			t.Fatalf("ready: %s", body)
		}
		if s, err := fetch(h.rest()); err == nil {
			t.Fatalf("handed out %s", s.UserID)
		}
		if time.Since(began) < d {
			return errors.New("watching")
		}
		return nil
	})
	return noticed
}

// fragile is a turnserver that ends at once for the first so many times.
func fragile(t *testing.T, times int) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "turnserver")
	script := fmt.Sprintf(`#!/bin/sh
case "$*" in *--version*) exec turnserver --version;; esac
echo >> %[1]s/starts
[ "$(wc -l < %[1]s/starts)" -gt %[2]d ] || exit 1
exec turnserver "$@"
`, dir, times)
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}
