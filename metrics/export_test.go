package metrics

import "github.com/prometheus/client_golang/prometheus"

// Gatherer is what the handler serves.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// NewCollector returns the collector of Observe.
func NewCollector(status StatusFunc) prometheus.Collector { return &collector{status} }
