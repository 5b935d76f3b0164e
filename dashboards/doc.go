// Package dashboards holds what turns the metrics of a fleet into pictures and
// alerts: Grafana dashboards, Prometheus rules, and examples of how to load both.
//
// The dashboards are written in Go (fleet.go, node.go, capacity.go, gateway.go) on a builder
// of the few things of Grafana that they use, and are committed as JSON too, for
// people who import them by hand. The rules are plain YAML. All of it is tested
// against metrics/testdata, so that a renamed metric breaks the build
// and not a picture.
package dashboards

//go:generate go test -run TestCommitted -update .
