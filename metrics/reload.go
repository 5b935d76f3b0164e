package metrics

import "github.com/prometheus/client_golang/prometheus"

// Reload is how the configuration was read last.
type Reload struct{ successful, at prometheus.Gauge }

// Reloaded is told the outcome of each reading, the one at the start included.
func (r Reload) Reloaded(ok bool) {
	if !ok {
		r.successful.Set(0)
		return
	}
	r.successful.Set(1)
	r.at.SetToCurrentTime()
}

// reload returns the gauges, under the names that Prometheus has for its own.
func (m *Metrics) reload() Reload {
	r := Reload{
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "config_last_reload_successful", Help: "Whether the last reading of the configuration files found no mistake, and what could be put in force without touching a call is.",
		}),
		at: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "config_last_reload_success_timestamp_seconds", Help: "Unix time of the last reading of the configuration files that was successful.",
		}),
	}
	m.registry.MustRegister(r.successful, r.at)
	return r
}
