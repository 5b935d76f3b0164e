package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// dashboard is what the test reads of one.
type dashboard struct {
	job    string // what Grafana would offer for the variable
	Title  string
	Panels []struct {
		Title   string
		Targets []struct{ Expr, LegendFormat string }
	}
}

// panels asks for what each query of each panel shows, as Grafana would for all the
// nodes, and that it is something, with the labels that its legend names.
func (w *scene) panels(empty ...string) {
	w.t.Helper()
	n := 0
	for _, d := range w.dashboards() {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				if slices.Contains(empty, p.Title) || strings.Contains(q.Expr, "offset 7d") {
					continue // and that is what TestHistory in dashboards is for
				}
				n++
				w.ask(d.Title+", "+p.Title, d.job, q.Expr, q.LegendFormat)
			}
		}
	}
	w.t.Logf("%d queries of panels have data", n)
}

// panel is one of them.
func (w *scene) panel(title string) {
	w.t.Helper()
	for _, d := range w.dashboards() {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				if p.Title == title {
					w.ask(d.Title+", "+title, d.job, q.Expr, q.LegendFormat)
				}
			}
		}
	}
}

func (w *scene) dashboards() (all []dashboard) {
	w.t.Helper()
	for name, job := range map[string]string{
		"turnwarden-fleet.json": "turnwarden", "turnwarden-node.json": "turnwarden", "turnwarden-capacity.json": "turnwarden",
		"turnwarden-gateway.json": "turnwarden-gateway|turnwarden-gateway-b",
	} {
		d := dashboard{job: job}
		if err := json.Unmarshal([]byte(w.read(name)), &d); err != nil {
			w.t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

var (
	everything  = strings.NewReplacer("$__rate_interval", "10s", "$__range", "1m", "$__interval", "5s", "$instance", ".+", "$horizon", "2592000")
	legendLabel = regexp.MustCompile(`\{\{(\w+)\}\}`)
	labelLists  = regexp.MustCompile(`\b(?:by|on|without|ignoring|group_left|group_right) \(([^)]*)\)`)
)

func (w *scene) ask(where, job, expr, legend string) {
	w.t.Helper()
	expr = strings.ReplaceAll(everything.Replace(expr), "$job", job)
	var samples []realtest.Sample
	realtest.Eventually(w.t, time.Minute, func() error {
		if samples = w.p.Query(w.t, expr); len(samples) == 0 {
			return fmt.Errorf("%s: no data: %s", where, expr)
		}
		return nil
	})
	for _, m := range legendLabel.FindAllStringSubmatch(legend, -1) {
		for _, s := range samples {
			if s.Labels[m[1]] == "" && m[1] != "version" { // which tests do not build with
				w.t.Errorf("%s: %s has no label %s for its legend", where, expr, m[1])
				break
			}
		}
	}
	w.labels(where, expr)
}

// labels holds the labels that a query groups or joins by against those that exist.
func (w *scene) labels(where, expr string) {
	w.t.Helper()
	for _, m := range labelLists.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(m[1], ",") {
			if label = strings.TrimSpace(label); label != "" && len(w.p.Query(w.t, `group({job=~"turnwarden.*",`+label+`!=""})`)) == 0 {
				w.t.Errorf("%s: nothing has a label %s: %s", where, label, expr)
			}
		}
	}
}

// rules has each rule evaluated without an error, and each recording rule have data.
func (w *scene) rules() {
	w.t.Helper()
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Query, Type, Health, LastError string }
			}
		}
	}
	_, body, err := get(w.p.URL + "/api/v1/rules")
	if err == nil {
		err = json.Unmarshal([]byte(body), &answer)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	n := 0
	for _, g := range answer.Data.Groups {
		for _, r := range g.Rules {
			n++
			if r.Health != "ok" {
				w.t.Errorf("%s: %s %s", r.Name, r.Health, r.LastError)
			}
			if r.Type == "recording" {
				w.ask(r.Name, "", r.Query, "")
			}
			w.labels(r.Name, r.Query)
		}
	}
	if n < 25 {
		w.t.Errorf("%d rules loaded", n)
	}
	w.t.Logf("%d rules are healthy", n)
}
