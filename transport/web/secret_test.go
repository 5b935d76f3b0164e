package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/metrics"
	"github.com/turnwarden/turnwarden/service/calls"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/journal"
	"github.com/turnwarden/turnwarden/service/node"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/service/traffic"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/transporttest"
	"github.com/turnwarden/turnwarden/transport/web"
)

// TestWebHoldsNoSecret asks a node that has a credential for all the pages that
// anybody may read.
func TestWebHoldsNoSecret(t *testing.T) {
	var log bytes.Buffer
	kept := journal.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	logger := slog.New(kept)
	counts := metrics.New()
	n := node.New(node.Facts{Node: "turn-1", RotateEvery: time.Hour}, logger)
	nobody := func(context.Context) (supervisor.Process, error) { return nil, errors.New("not here") }
	rotator := credential.New(credential.Config{Node: "turn-1", Realm: realtest.Realm, Lifetime: 2 * time.Hour, RotateEvery: time.Hour},
		transporttest.Willing{}, transporttest.Willing{}, credential.NewFile(filepath.Join(t.TempDir(), "credentials.json")), func() {}, logger, counts.Credential)
	n.Join(node.Parts{
		Child:       supervisor.New(nobody, supervisor.Policy{}, n.ChildChanged, logger, counts.Supervisor),
		Prober:      probe.New(probe.Config{}, probe.Node{}, logger, counts.Probe),
		Credentials: rotator,
		Traffic:     traffic.NewMeter(transporttest.Willing{}, traffic.Config{}, func() {}, logger),
		Log:         calls.NewLog(logger),
		Journal:     kept,
	})
	counts.Observe(n.Status)
	h, err := web.NewHandler("/metrics", counts.Handler(logger), n.Status, counts.Instrument)
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- rotator.Run(ctx) }()
	events := transport.NewEvents(n.Status, 1)
	told := make(chan error, 1)
	go func() { told <- events.Run(ctx) }()
	rest := transporttest.Serve(t, transport.NewAPIHandler(transport.NewEndpoints(n), counts.Instrument, transport.APIOptions{Status: n.Status, Events: events}))
	var given struct{ UserID, Password string }
	realtest.Eventually(t, 10*time.Second, func() error {
		response, body := transporttest.Ask(t, rest, "GET", "/turncredential", nil)
		if response.StatusCode != 200 {
			return errors.New(body)
		}
		return json.Unmarshal([]byte(body), &given)
	})
	pages := transporttest.Serve(t, h)
	logger.Error("not stored", "err", errors.New("cannot add "+given.UserID))
	for _, path := range []string{
		pages.URL + "/metrics", pages.URL + "/-/ready", pages.URL + "/-/healthy", pages.URL + "/", pages.URL + "/events",
		rest.URL + "/v1/status", rest.URL + "/v1/events",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // a stream does not end
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := pages.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		read, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		cancel()
		body := string(read)
		if response.StatusCode == http.StatusOK && len(body) == 0 || path == pages.URL+"/events" && !strings.Contains(body, "generation 1") ||
			path == rest.URL+"/v1/events" && !strings.Contains(body, `"generation":1,`) {
			t.Errorf("%s: %s\n%s", path, response.Status, body)
		}
		for _, secret := range []string{given.Password, given.UserID} {
			if secret == "" || strings.Contains(body, secret) {
				t.Errorf("%s holds %q:\n%s", path, secret, body)
			}
		}
	}
	cancel()
	if err := errors.Join(<-done, <-told); err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), given.Password) {
		t.Errorf("the log holds the password:\n%s", &log)
	}
}
