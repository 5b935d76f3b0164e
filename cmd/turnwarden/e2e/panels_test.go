package e2e

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

// question is a query, and the labels that its legend names.
type question struct{ where, expr, legend string }

// panels asks for what each query of each panel shows, as Grafana would for all the
// nodes, and that it is something, with the labels that its legend names.
func (w *scene) panels(empty ...string) {
	w.t.Helper()
	all := w.questions(func(title, expr string) bool {
		// What compares with last week has a test of its own, TestHistory in dashboards.
		return !slices.Contains(empty, title) && !strings.Contains(expr, "offset 7d")
	})
	w.ask(all)
	w.t.Logf("%d queries of panels have data", len(all))
}

// panel asks for what one of them shows.
func (w *scene) panel(title string) {
	w.t.Helper()
	w.ask(w.questions(func(t, _ string) bool { return t == title }))
}

// questions are the queries of those panels that are wanted.
func (w *scene) questions(wanted func(title, expr string) bool) (all []question) {
	for _, d := range w.dashboards() {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				if wanted(p.Title, q.Expr) {
					all = append(all, question{d.Title + ", " + p.Title, strings.ReplaceAll(q.Expr, "$job", d.job), q.LegendFormat})
				}
			}
		}
	}
	return all
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

// ask waits until each question has an answer, and asks those that have none again.
func (w *scene) ask(all []question) {
	w.t.Helper()
	again := time.NewTicker(500 * time.Millisecond)
	defer again.Stop()
	realtest.Eventually(w.t, time.Minute, func() error {
		all = slices.DeleteFunc(all, w.answered)
		if len(all) == 0 {
			return nil
		}
		<-again.C
		return fmt.Errorf("no data: %v", all)
	})
}

// answered reports whether a question has an answer now, and looks at its labels.
func (w *scene) answered(q question) bool {
	w.t.Helper()
	expr := everything.Replace(q.expr)
	samples := w.p.Query(w.t, expr)
	if len(samples) == 0 {
		return false
	}
	for _, m := range legendLabel.FindAllStringSubmatch(q.legend, -1) {
		for _, s := range samples {
			if s.Labels[m[1]] == "" && m[1] != "version" { // which tests do not build with
				w.t.Errorf("%s: %s has no label %s for its legend", q.where, expr, m[1])
				break
			}
		}
	}
	w.labels(q.where, expr)
	return true
}

// labels holds the labels that a query groups or joins by against those that exist.
func (w *scene) labels(where, expr string) {
	w.t.Helper()
	if w.known == nil {
		w.known = w.p.Labels(w.t, `{job=~"turnwarden.*"}`)
	}
	for _, m := range labelLists.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(m[1], ",") {
			if label = strings.TrimSpace(label); label != "" && !slices.Contains(w.known, label) {
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
	n, recorded := 0, []question(nil)
	for _, g := range answer.Data.Groups {
		for _, r := range g.Rules {
			n++
			if r.Health != "ok" {
				w.t.Errorf("%s: %s %s", r.Name, r.Health, r.LastError)
			}
			if r.Type == "recording" {
				recorded = append(recorded, question{where: r.Name, expr: r.Query})
			}
			w.labels(r.Name, r.Query)
		}
	}
	w.ask(recorded)
	if n < 25 {
		w.t.Errorf("%d rules loaded", n)
	}
	w.t.Logf("%d rules are healthy", n)
}
