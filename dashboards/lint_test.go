package dashboards

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the committed dashboards")

// TestCommitted: what people read and import from the repository is what the code says.
func TestCommitted(t *testing.T) {
	files := map[string]func() ([]byte, error){"README.md": readme}
	for name, d := range generated() {
		files[name] = d.marshal
	}
	for name, generate := range files {
		want, err := generate()
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(name, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the code generates: run make generate", name)
		}
	}
}

// generated returns the dashboards by the name of their file.
func generated() map[string]dashboard {
	all := map[string]dashboard{}
	for _, d := range []dashboard{fleet(), node(), capacity(), gateway()} {
		all[d.UID+".json"] = d
	}
	return all
}

// units are those of Grafana that the panels use: an id that it does not know is
// shown as text behind the number.
var units = []string{bps, count, perSec, ratio, seconds, size, "none", "pps"}

func TestDashboards(t *testing.T) {
	all := generated()
	if len(all) != 4 {
		t.Fatalf("%d dashboards have different uids, want 4", len(all))
	}
	for name, d := range all {
		t.Run(name, func(t *testing.T) {
			if len(d.UID) > 40 || d.Editable || d.SchemaVersion != 38 || d.Description == "" || !slices.Contains(d.Tags, "turnwarden") {
				t.Errorf("uid %q, editable %v, schema %d, description %q, tags %q", d.UID, d.Editable, d.SchemaVersion, d.Description, d.Tags)
			}
			for other, o := range all {
				i := slices.IndexFunc(d.Links, func(l link) bool { return strings.HasPrefix(l.URL, "/d/"+o.UID+"?") })
				if i < 0 {
					t.Fatalf("no link to %s", other)
				}
				if same := (d.UID == gatewayUID) == (o.UID == gatewayUID); strings.Contains(d.Links[i].URL, "${job:queryparam}") != same {
					t.Errorf("the link to %s, of which the jobs are the same: %v, is %s", other, same, d.Links[i].URL)
				}
			}
			sources := datasources(t, d)
			if len(sources) < len(d.Panels) {
				t.Errorf("%d data sources for %d panels", len(sources), len(d.Panels))
			}
			for _, s := range sources {
				if diff := cmp.Diff(any(map[string]any{"type": "prometheus", "uid": "${datasource}"}), s); diff != "" {
					t.Errorf("a data source is not the one that the viewer chose (-want +got):\n%s", diff)
				}
			}
			lintVariables(t, d)
			lintLayout(t, d)
			for _, p := range d.Panels {
				if p.Type != "row" {
					lintPanel(t, p)
				}
			}
		})
	}
}

// datasources finds every one in the JSON, wherever it is, the templates of
// variables among them.
func datasources(t *testing.T, d dashboard) (found []any) {
	t.Helper()
	content, err := d.marshal()
	if err != nil {
		t.Fatal(err)
	}
	var document any
	if err := json.Unmarshal(content, &document); err != nil {
		t.Fatal(err)
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for key, e := range v {
				if key == "datasource" {
					found = append(found, e)
				}
				walk(e)
			}
		}
	}
	walk(document)
	return found
}

func lintVariables(t *testing.T, d dashboard) {
	t.Helper()
	byName := map[string]variable{}
	for _, v := range d.Templating.List {
		byName[v.Name] = v
	}
	if byName["datasource"].Type != "datasource" || byName["datasource"].Query != "prometheus" {
		t.Errorf("variable datasource: %+v", byName["datasource"])
	}
	for _, name := range []string{"job", "instance"} {
		v := byName[name]
		everything := v.Multi && v.IncludeAll
		if one := d.UID == nodeUID && name == "instance"; v.Refresh != 2 || everything == one {
			t.Errorf("variable %s: %+v", name, v)
		}
		// All jobs must be the jobs on offer: others have an `up`, too.
		if name == "job" && v.AllValue != "" || name == "instance" && v.Multi && v.AllValue != ".+" {
			t.Errorf("variable %s: all of them are %q", name, v.AllValue)
		}
	}
	used := regexp.MustCompile(`\$\{?([a-z]\w*)`)
	for _, expr := range expressions(d) {
		for _, m := range used.FindAllStringSubmatch(expr, -1) {
			if _, ok := byName[m[1]]; !ok {
				t.Errorf("undefined variable %s in %s", m[0], expr)
			}
		}
	}
}

// expressions are the queries of panels, annotations and variables.
func expressions(d dashboard) (all []string) {
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			all = append(all, q.Expr)
		}
	}
	for _, a := range d.Annotations.List {
		all = append(all, a.Expr)
	}
	for _, v := range d.Templating.List {
		if v.Definition != "" {
			all = append(all, v.Definition)
		}
	}
	return all
}

func lintLayout(t *testing.T, d dashboard) {
	t.Helper()
	taken := map[[2]int]string{}
	ids := map[int]bool{}
	for _, p := range d.Panels {
		if p.ID == 0 || ids[p.ID] {
			t.Errorf("%s: id %d is used twice", p.Title, p.ID)
		}
		ids[p.ID] = true
		if g := p.GridPos; g.W == 0 || g.H == 0 || g.X+g.W > 24 {
			t.Errorf("%s: does not fit at %+v", p.Title, g)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok {
					t.Fatalf("%s lies on %s", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

var (
	// A metric, recorded or not, and what surrounds it.
	metricUse = regexp.MustCompile(`(\w+\()?\b((?:\w+:)?(?:turnwarden|process|promhttp)_\w+(?::\w+)?|up|ALERTS)\b(\{[^}]*\})?`)
	counter   = regexp.MustCompile(`_(total|bucket)$|_(duration_seconds|relayed_bytes)_count$`)
	perTime   = []string{"rate(", "increase("}
	perNode   = regexp.MustCompile(`^\{job=~"\$job",instance=~"\$instance"[,}]`)
	perFleet  = regexp.MustCompile(`^\{job=~"\$job"[,}]`)
)

func lintPanel(t *testing.T, p panel) {
	t.Helper()
	if p.Title == "" || !strings.HasSuffix(p.Description, ".") || len(p.Targets) == 0 {
		t.Errorf("panel %q: description %q, %d queries", p.Title, p.Description, len(p.Targets))
	}
	f := p.FieldConfig.Defaults
	if !slices.Contains(units, f.Unit) {
		t.Errorf("%s: unit %q", p.Title, f.Unit)
	}
	if len(f.Thresholds.Steps) == 0 || f.Thresholds.Steps[0].Value != nil {
		t.Errorf("%s: thresholds %+v", p.Title, f.Thresholds)
	}
	colored := len(f.Thresholds.Steps) > 1 || len(f.Mappings) > 0 || f.Color["mode"] == "fixed"
	if p.Type == "stat" && !colored {
		t.Errorf("%s: neither levels nor a fixed colour: Grafana paints it red from 80 on", p.Title)
	}
	seen := map[string]bool{}
	for _, q := range p.Targets {
		if seen[q.RefID] {
			t.Errorf("%s: refId %s twice", p.Title, q.RefID)
		}
		seen[q.RefID] = true
		lintQuery(t, p.Title, q.Expr)
	}
	for _, o := range p.FieldConfig.Overrides {
		if !hasField(p, o.Matcher.Options) {
			t.Errorf("%s: the override for %q matches no series or column", p.Title, o.Matcher.Options)
		}
	}
}

func lintQuery(t *testing.T, title, expr string) {
	t.Helper()
	uses := metricUse.FindAllStringSubmatch(expr, -1)
	if len(uses) == 0 {
		t.Errorf("%s: no metric in %s", title, expr)
	}
	for _, m := range uses {
		function, metric, selector := m[1], m[2], m[3]
		want := perNode
		if strings.HasPrefix(metric, "region") || metric == "ALERTS" {
			want = perFleet
		}
		if !want.MatchString(selector) {
			t.Errorf("%s: %s%s does not select what the viewer chose", title, metric, selector)
		}
		if counter.MatchString(metric) != slices.Contains(perTime, function) {
			t.Errorf("%s: %s%s: a counter wants rate or increase, a gauge does not", title, function, metric)
		}
	}
	for _, m := range regexp.MustCompile(`(?:rate|increase)\([^\[]*\[([^\]]*)\]`).FindAllStringSubmatch(expr, -1) {
		if m[1] != "$__rate_interval" && m[1] != "$__range" {
			t.Errorf("%s: fixed range [%s] in %s", title, m[1], expr)
		}
	}
}

// hasField says whether a series or a column of the panel has that name.
func hasField(p panel, name string) bool {
	for _, q := range p.Targets {
		if q.LegendFormat == name || q.Format == "table" && name == "instance" {
			return true
		}
	}
	for _, tr := range p.Transformations {
		renamed, _ := tr.Options["renameByName"].(map[string]string)
		for _, to := range renamed {
			if to == name {
				return true
			}
		}
	}
	return false
}
