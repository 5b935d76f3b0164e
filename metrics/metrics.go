package metrics

import (
	"log/slog"
	"net/http"
	"time"

	kitmetrics "github.com/go-kit/kit/metrics"
	kitprometheus "github.com/go-kit/kit/metrics/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/turnwarden/turnwarden/service"
)

const namespace = "turnwarden"

// Metrics holds the registry of one process and the counters its parts write to: those
// of a node or those of a gateway.
type Metrics struct {
	Supervisor service.SupervisorMetrics
	Credential service.CredentialMetrics
	Probe      service.ProbeMetrics
	Registry   service.DirectoryMetrics
	Cancelled  kitmetrics.Counter
	Gateway    service.GatewayMetrics
	FileUsable kitmetrics.Gauge
	Reload     Reload

	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	inFlight prometheus.Gauge
}

// New returns the metrics of a node with every series that is known in advance at 0,
// or increase() would miss the first event of each. Where the labels are the words
// of a part, its constructor sees to that.
func New() *Metrics {
	m := newMetrics()
	m.Supervisor.Restarts = m.counter("turnserver_restarts_total", "Times the TURN server was started again after it had ended, by reason.", "reason")
	m.Credential.Rotations = m.counter("credential_rotations_total", "Credential rotations attempted.")
	m.Credential.Failures = m.counter("credential_rotation_failures_total", "Credential rotations that failed.")
	buckets := []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}
	m.Probe.Duration = m.byTransport(histogramOpts("probe_duration_seconds", "Time a TURN probe took.", buckets))
	m.Probe.RTT = m.byTransport(histogramOpts("probe_rtt_seconds", "Time that the TURN server took to grant a probe its allocation.", buckets))
	m.Credential.Transitions = m.counter("credential_transitions_total", "Transitions of generations attempted, by the state they lead to.", "to")
	m.Credential.TransitionFailures = m.counter("credential_transition_failures_total", "Transitions of generations that failed, by the state they lead to.", "to")
	m.Cancelled = m.counter("revoked_allocations_total", "Allocations that were ended because their credential was revoked.")
	m.Registry = m.directory()
	m.Reload = m.reload()
	return m
}

// NewGateway returns the metrics of a gateway.
func NewGateway() *Metrics {
	m := newMetrics()
	m.Gateway.Fleet.Metrics = m.directory()
	m.Gateway.Fleet.Rejected = m.counter("gateway_records_rejected_total", "Records that could not be understood, by what is wrong with them; name and number are never read.", "reason")
	fetches := prometheus.NewHistogram(histogramOpts("gateway_fetch_duration_seconds", "Time that nodes took to answer a request for a credential, or not to.",
		[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 1.5}))
	m.registry.MustRegister(fetches)
	m.Gateway.Fetch = histogram{fetches}
	return m
}

// histogram is a go-kit histogram without labels.
type histogram struct{ prometheus.Histogram }

func (h histogram) With(...string) kitmetrics.Histogram { return h }

// directory returns the counters of a ZooKeeper session.
func (m *Metrics) directory() service.DirectoryMetrics {
	return service.DirectoryMetrics{
		Operations: m.counter("zookeeper_operations_total", "ZooKeeper operations attempted, by operation.", "operation"),
		Failures:   m.counter("zookeeper_operation_failures_total", "ZooKeeper operations that failed, by operation.", "operation"),
	}
}

// newMetrics returns what every turnwarden has.
func newMetrics() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	usable := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "file_usable", Help: "Whether the files that a configuration key names are in force as they are now; 0 = what they said before is.",
	}, []string{"key"})
	m.registry.MustRegister(usable)
	m.FileUsable = kitprometheus.NewGauge(usable)
	m.requests = prometheus.NewHistogramVec(histogramOpts("http_request_duration_seconds", "Time to answer HTTP requests.",
		[]float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5}), []string{"handler", "method", "code"})
	m.inFlight = prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "http_requests_in_flight", Help: "HTTP requests now being answered."})
	m.registry.MustRegister(m.requests, m.inFlight,
		versioncollector.NewCollector(namespace),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Observe adds the series that are read from a Status at each scrape.
func (m *Metrics) Observe(status StatusFunc) { m.registry.MustRegister(&collector{status}) }

// ObserveGateway is Observe for a gateway.
func (m *Metrics) ObserveGateway(status func() service.GatewayStatus) {
	m.registry.MustRegister(&gatewayCollector{status})
}

// Handler serves the exposition. A collector that fails costs its own series only.
func (m *Metrics) Handler(logger *slog.Logger) http.Handler {
	return promhttp.InstrumentMetricHandler(m.registry, sending(promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:            newScrapeLog(logger),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 40,
		Registry:            m.registry,
		EnableOpenMetrics:   true,
	})))
}

func (m *Metrics) counter(name, help string, labels ...string) *kitprometheus.Counter {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	if len(labels) == 0 {
		v.WithLabelValues()
	}
	m.registry.MustRegister(v)
	return kitprometheus.NewCounter(v)
}

// byTransport begins with the one that every server has, unless it is told not to.
func (m *Metrics) byTransport(opts prometheus.HistogramOpts) *kitprometheus.Histogram {
	v := prometheus.NewHistogramVec(opts, []string{"transport"})
	v.WithLabelValues(string(service.ProbeUDP))
	m.registry.MustRegister(v)
	return kitprometheus.NewHistogram(v)
}

// histogramOpts gives every histogram classic buckets, which all scrapers read,
// and native ones for those that ask for protobuf.
func histogramOpts(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	}
}
