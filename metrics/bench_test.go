package metrics_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// BenchmarkScrape pairs a scrape of a node in the middle of its work, whose child's
// /proc is read, with one of a bare promhttp handler whose registry holds the same
// series, set once and never touched again.
func BenchmarkScrape(b *testing.B) {
	m := node(serving())
	events(m)
	own := m.Handler(slog.New(slog.DiscardHandler))
	scrape(own) // the handler counts its own scrapes from the first on
	registry, series := still(b, m.Gatherer())
	bare := promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
	scrape(bare)
	timed := func(h http.Handler, unit string) func() float64 {
		var scrapes, mallocs uint64
		return func() float64 {
			c := scrape(h)
			scrapes, mallocs = scrapes+1, mallocs+c.mallocs
			b.ReportMetric(float64(mallocs)/float64(scrapes), unit)
			return c.ns
		}
	}
	realtest.Pairs(b, "x-bare", "ns/scrape", "ns/bare-scrape", timed(own, "allocs/scrape"), timed(bare, "allocs/bare-scrape"))
	b.ReportMetric(float64(series), "series")
}

type cost struct {
	ns      float64
	mallocs uint64
}

// scrape is one, as Prometheus asks for it, without a network.
func scrape(h http.Handler) cost {
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
	w := httptest.NewRecorder()
	w.Body.Grow(1 << 17)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := time.Now()
	h.ServeHTTP(w, r)
	took := time.Since(begin)
	runtime.ReadMemStats(&after)
	return cost{float64(took.Nanoseconds()), after.Mallocs - before.Mallocs}
}

// still is a registry with the series of another, and how many lines they make.
func still(b *testing.B, from prometheus.Gatherer) (*prometheus.Registry, int) {
	b.Helper()
	families, err := from.Gather()
	if err != nil {
		b.Fatal(err)
	}
	r, series := prometheus.NewRegistry(), 0
	for _, f := range families {
		var names []string
		for _, l := range f.Metric[0].Label {
			names = append(names, l.GetName())
		}
		set, c := stillVec(f, names)
		r.MustRegister(c)
		for _, metric := range f.Metric {
			labels := prometheus.Labels{}
			for _, l := range metric.Label {
				labels[l.GetName()] = l.GetValue()
			}
			set(labels, metric)
			series += max(1, len(metric.GetHistogram().GetBucket())+3, len(metric.GetSummary().GetQuantile())+2)
		}
	}
	return r, series
}

func stillVec(f *dto.MetricFamily, labels []string) (set func(prometheus.Labels, *dto.Metric), c prometheus.Collector) {
	name, help := f.GetName(), f.GetHelp()
	switch f.GetType() {
	case dto.MetricType_COUNTER:
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		return func(l prometheus.Labels, m *dto.Metric) { v.With(l).Add(m.GetCounter().GetValue()) }, v
	case dto.MetricType_HISTOGRAM:
		var bounds []float64
		for _, bucket := range f.Metric[0].GetHistogram().Bucket {
			bounds = append(bounds, bucket.GetUpperBound())
		}
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds}, labels)
		return func(l prometheus.Labels, m *dto.Metric) { v.With(l).Observe(m.GetHistogram().GetSampleSum()) }, v
	case dto.MetricType_SUMMARY:
		v := prometheus.NewSummaryVec(prometheus.SummaryOpts{Name: name, Help: help, Objectives: map[float64]float64{0: 0, .25: 0, .5: 0, .75: 0, 1: 0}}, labels)
		return func(l prometheus.Labels, m *dto.Metric) { v.With(l).Observe(m.GetSummary().GetSampleSum()) }, v
	default:
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
		return func(l prometheus.Labels, m *dto.Metric) { v.With(l).Set(m.GetGauge().GetValue()) }, v
	}
}
