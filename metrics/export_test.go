package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/turnwarden/turnwarden/service"
)

// Gatherer is what the handler serves.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// NewCollector returns the collector of Observe.
func NewCollector(status StatusFunc) prometheus.Collector { return &collector{status} }

// NewGatewayCollector returns the collector of ObserveGateway.
func NewGatewayCollector(status func() service.GatewayStatus) prometheus.Collector {
	return &gatewayCollector{status}
}

// ScrapeTimeout is how long a probe may take for a scraper.
var ScrapeTimeout = scrapeTimeout
