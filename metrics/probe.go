package metrics

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/turnwarden/turnwarden/service"
)

// maxProbes bounds what /probe costs at any moment.
const maxProbes = 8

// probeLimit is how long a probe takes at most, the default of Prometheus; a margin
// is left for the answer to reach it.
const (
	probeLimit  = 10 * time.Second
	probeMargin = 500 * time.Millisecond
)

// ProbeHandler asks the server ?target= and answers with what came of it, under
// blackbox_exporter's names where it has them. It asks as a stranger: a credential
// of ours is nobody else's business. Whom it may ask is named beforehand, or anybody
// could have it send packets to anybody.
func ProbeHandler(allowed func() []service.ProbeAllow) http.Handler {
	slots := make(chan struct{}, maxProbes)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hosts := allowed()
		if len(hosts) == 0 { // by default, and then nothing that strangers send is read
			http.Error(w, "target: probe.allow_targets of this node's configuration names none", http.StatusForbidden)
			return
		}
		uri, err := service.ParseProbeURI(r.URL.Query().Get("target"))
		if err != nil {
			http.Error(w, "target: "+err.Error(), http.StatusBadRequest)
			return
		}
		if !slices.ContainsFunc(hosts, func(a service.ProbeAllow) bool { return a.Covers(uri) }) {
			http.Error(w, fmt.Sprintf("target: %s is not in probe.allow_targets of this node's configuration", uri.Host), http.StatusForbidden)
			return
		}
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			w.Header().Set("Retry-After", "1")
			http.Error(w, fmt.Sprintf("%d probes are under way, which is the most at a time", maxProbes), http.StatusServiceUnavailable)
			return
		}
		limit := scrapeTimeout(r)
		ctx, cancel := context.WithTimeout(r.Context(), limit)
		defer cancel()
		begin := time.Now()
		_, report := uri.Ask(ctx, service.ProbeQuestion{Timeout: limit})
		promhttp.HandlerFor(probed(report, time.Since(begin)), promhttp.HandlerOpts{}).ServeHTTP(w, r)
	})
}

// scrapeTimeout is how long Prometheus will wait, less a margin.
func scrapeTimeout(r *http.Request) time.Duration {
	seconds, err := strconv.ParseFloat(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
	if err != nil || !(seconds > 0) || seconds > probeLimit.Seconds() { // NaN, too, is nothing to wait for
		return probeLimit - probeMargin
	}
	limit := time.Duration(seconds * float64(time.Second))
	return max(limit-probeMargin, limit/2)
}

// probed turns a report into series.
func probed(report service.ProbeReport, took time.Duration) *prometheus.Registry {
	r := prometheus.NewRegistry()
	gauge := func(name, help string, v float64) {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
		g.Set(v)
		r.MustRegister(g)
	}
	success := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "probe_turn_stage_success", Help: "Whether this stage succeeded; stages that were not reached have no series."}, []string{"stage"})
	duration := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "probe_turn_stage_duration_seconds", Help: "Time this stage took."}, []string{"stage"})
	r.MustRegister(success, duration)
	for _, s := range report.Steps {
		ok := 0.0
		if s.Err == nil {
			ok = 1
		}
		success.WithLabelValues(s.Stage).Set(ok)
		duration.WithLabelValues(s.Stage).Set(s.Took.Seconds())
		if s.Stage == service.StageResolve {
			gauge("probe_dns_lookup_time_seconds", "Returns the time taken for probe dns lookup in seconds", s.Took.Seconds())
		}
	}
	if c := report.Certificate(); !c.NotAfter.IsZero() {
		gauge("probe_ssl_earliest_cert_expiry", "Returns earliest SSL cert expiry in unixtime", float64(c.NotAfter.Unix()))
	}
	all := 1.0
	if report.Err() != nil {
		all = 0
	}
	gauge("probe_success", "Displays whether or not the probe was a success", all)
	gauge("probe_duration_seconds", "Returns how long the probe took to complete in seconds", took.Seconds())
	return r
}
