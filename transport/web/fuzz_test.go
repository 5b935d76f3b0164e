package web_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/transport/transporttest"
	"github.com/turnwarden/turnwarden/transport/web"
)

// FuzzWebRoutes: the web listener of either kind says the same to whoever asks, however.
func FuzzWebRoutes(f *testing.F) {
	telemetry := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") })
	node, err := web.NewHandler("/metrics", telemetry, transporttest.Up, transporttest.Plain)
	if err != nil {
		f.Fatal(err)
	}
	gateway, err := web.NewGatewayHandler("/metrics", telemetry, func() service.GatewayStatus { return transporttest.Fleet(transporttest.Node("turn-1", "up", 812.4)) }, transporttest.Plain)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(0), "a=%zz;&n=1", "text/html", "Bearer x", "127.0.0.1")
	f.Add(uint8(7), "target=turn:127.0.0.1", "application/openmetrics-text;q=\"", "\x00", "\r\nSet-Cookie: a")
	f.Fuzz(func(t *testing.T, which uint8, query, accept, authorization, forwarded string) {
		path, h := []string{"/", "/metrics", "/-/healthy", "/-/ready"}[which%4], []http.Handler{node, gateway}[which/4%2]
		bare, adorned := httptest.NewRecorder(), httptest.NewRecorder()
		r := httptest.NewRequest("GET", path, nil)
		h.ServeHTTP(bare, r)
		r.URL.RawQuery = query
		r.Header = http.Header{"Accept": {accept}, "Authorization": {authorization}, "X-Forwarded-For": {forwarded}}
		h.ServeHTTP(adorned, r)
		if bare.Code != adorned.Code || fmt.Sprint(bare.Header()) != fmt.Sprint(adorned.Header()) || adorned.Code != http.StatusOK {
			t.Errorf("%s?%s: %d %v, want %d %v", path, query, adorned.Code, adorned.Header(), bare.Code, bare.Header())
		}
	})
}
