// Package metrics is the one place that knows Prometheus. Events are counted as
// they happen, through go-kit's interfaces; everything else is read from one
// Status at scrape time, so that no series can get stuck at an old value.
//
// Names and labels are an interface: testdata/metrics.prom is the record of them.
package metrics
