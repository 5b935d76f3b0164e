package dashboards

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Units of Grafana.
const (
	bps     = "bps"
	count   = "short"
	perSec  = "reqps"
	ratio   = "percentunit"
	seconds = "s"
	size    = "bytes"
)

// prometheus is the data source that the viewer chooses.
var prometheus = datasource{Type: "prometheus", UID: "${datasource}"}

// A row is a heading and the panels below it.
type row struct {
	title  string
	panels []panel
}

// build lays the rows out and gives every panel its id.
func build(d dashboard, rows ...row) dashboard {
	d.Tags, d.SchemaVersion, d.GraphTooltip = []string{"turnwarden"}, schemaVersion, 1
	d.Refresh, d.Time.To = "1m", "now"
	y := 0
	place := func(p panel) {
		p.ID = len(d.Panels) + 1
		d.Panels = append(d.Panels, p)
	}
	for _, r := range rows {
		place(panel{Type: "row", Title: r.title, GridPos: gridPos{Y: y, W: 24, H: 1}})
		y++
		x, height := 0, 0
		for _, p := range r.panels {
			if x+p.GridPos.W > 24 {
				x, y, height = 0, y+height, 0
			}
			p.GridPos.X, p.GridPos.Y = x, y
			x, height = x+p.GridPos.W, max(height, p.GridPos.H)
			place(p)
		}
		y += height
	}
	return d
}

// marshal writes JSON as Grafana exports it.
func (d dashboard) marshal() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		return nil, fmt.Errorf("encode dashboard %s: %w", d.UID, err)
	}
	return b.Bytes(), nil
}

// A setting changes a panel after its kind has set the usual.
type setting func(*panel)

func newPanel(kind, title, description, unit string, w, h int, settings []setting) panel {
	p := panel{
		Type: kind, Title: title, Description: description, Datasource: &prometheus,
		GridPos: gridPos{W: w, H: h},
		FieldConfig: &fieldConfig{
			Defaults: fieldDefaults{
				Unit:       unit,
				Color:      map[string]any{"mode": "palette-classic"},
				Thresholds: thresholds{Mode: "absolute", Steps: []step{{Color: "green"}}},
				Mappings:   []mapping{},
			},
			Overrides: []override{},
		},
	}
	switch kind {
	case "stat":
		// Without steps of its own a coloured stat turns red at 80, whatever it
		// counts (Grafana 10.1): neutral numbers have one fixed colour.
		p.FieldConfig.Defaults.Color = map[string]any{"mode": "fixed", "fixedColor": "blue"}
		p.Options = map[string]any{
			"colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
			"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
		}
	case "timeseries":
		p.FieldConfig.Defaults.Custom = map[string]any{"drawStyle": "line", "fillOpacity": 10, "lineWidth": 1, "showPoints": "never", "spanNulls": false}
		p.Options = map[string]any{
			"legend":  map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": true},
			"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
		}
	case "state-timeline":
		p.FieldConfig.Defaults.Custom = map[string]any{"fillOpacity": 80, "lineWidth": 0}
		p.Options = map[string]any{
			"mergeValues": true, "showValue": "auto", "rowHeight": 0.8, "alignValue": "left",
			"legend": map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": true},
		}
	case "table":
		p.FieldConfig.Defaults.Custom = map[string]any{"align": "auto", "filterable": true}
		p.Options = map[string]any{"showHeader": true, "cellHeight": "sm"}
	}
	for _, set := range settings {
		set(&p)
	}
	return p
}

func stat(title, description, unit string, settings ...setting) panel {
	return newPanel("stat", title, description, unit, 4, 4, settings)
}

func graph(title, description, unit string, settings ...setting) panel {
	return newPanel("timeseries", title, description, unit, 12, 8, settings)
}

func timeline(title, description string, settings ...setting) panel {
	return newPanel("state-timeline", title, description, "none", 12, 8, settings)
}

func table(title, description, unit string, settings ...setting) panel {
	p := newPanel("table", title, description, unit, 24, 8, settings)
	for i := range p.Targets {
		p.Targets[i].Format, p.Targets[i].Instant, p.Targets[i].Range = "table", true, false
	}
	return p
}

// selectors are written out in every query: $node for series of nodes, $fleet
// for recorded series that no longer know the node.
var selectors = strings.NewReplacer("$node", `job=~"$job",instance=~"$instance"`, "$fleet", `job=~"$job"`)

// query adds a query with the name that its series have.
func query(expr, legend string) setting {
	return func(p *panel) {
		p.Targets = append(p.Targets, target{
			RefID: string(rune('A' + len(p.Targets))), Datasource: prometheus, EditorMode: "code",
			Expr: selectors.Replace(expr), LegendFormat: legend, Range: true, Format: "time_series",
		})
	}
}

// now asks for the present value alone, which spares a long range of long ranges.
func now(expr, legend string) setting {
	return func(p *panel) {
		query(expr, legend)(p)
		t := &p.Targets[len(p.Targets)-1]
		t.Instant, t.Range = true, false
	}
}

func wide(w, h int) setting { return func(p *panel) { p.GridPos.W, p.GridPos.H = w, h } }

// level is where a colour begins.
type level struct {
	from  float64
	color string
}

// levels colours a panel by value; base is the colour below all levels.
func levels(base string, above ...level) setting {
	return func(p *panel) {
		d := &p.FieldConfig.Defaults
		d.Thresholds.Steps = []step{{Color: base}}
		for _, l := range above {
			d.Thresholds.Steps = append(d.Thresholds.Steps, step{&l.from, l.color})
		}
		switch p.Type {
		case "timeseries": // lines keep their own colours and cross the thresholds
			d.Custom["thresholdsStyle"] = map[string]any{"mode": "dashed"}
		case "stat":
			d.Color = map[string]any{"mode": "thresholds"}
			p.Options["colorMode"] = "background"
		default:
			d.Color = map[string]any{"mode": "thresholds"}
		}
	}
}

func bounds(low, high float64) setting {
	return func(p *panel) { p.FieldConfig.Defaults.Min, p.FieldConfig.Defaults.Max = &low, &high }
}

func fromZero(p *panel) {
	zero := 0.0
	p.FieldConfig.Defaults.Min = &zero
}

func decimals(n int) setting { return func(p *panel) { p.FieldConfig.Defaults.Decimals = &n } }

func noValue(text string) setting { return func(p *panel) { p.FieldConfig.Defaults.NoValue = text } }

func stacked(p *panel) {
	p.FieldConfig.Defaults.Custom["stacking"] = map[string]any{"mode": "normal", "group": "A"}
	p.FieldConfig.Defaults.Custom["fillOpacity"] = 30
}

// bars is for events: steps of five minutes, because a rate that overlaps the
// next step would show each event twice.
func bars(p *panel) {
	stacked(p)
	p.FieldConfig.Defaults.Custom["drawStyle"], p.FieldConfig.Defaults.Custom["fillOpacity"] = "bars", 80
	p.Interval = "5m"
}

// field sets properties of one series or column.
func field(name string, properties ...property) setting {
	return func(p *panel) {
		p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, override{matcher{"byName", name}, properties})
	}
}

// limit draws a series as a dashed line that nothing is stacked on.
func limit(name, color string) setting {
	return field(name,
		property{"custom.stacking", map[string]any{"mode": "none", "group": "A"}},
		property{"custom.fillOpacity", 0},
		property{"custom.lineStyle", map[string]any{"fill": "dash", "dash": []int{8, 6}}},
		property{"color", map[string]any{"mode": "fixed", "fixedColor": color}})
}

func transform(id string, options map[string]any) setting {
	return func(p *panel) { p.Transformations = append(p.Transformations, transformation{id, options}) }
}
