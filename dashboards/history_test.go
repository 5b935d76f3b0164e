package dashboards

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	hours = 5 * 7 * 24 // of history, one sample each
	last  = hours - 1
)

// history is a fleet of three nodes of which one is larger. Their load swings with
// the hour, is lower on every sixth and seventh day, and grows by 3% a week.
type history struct {
	start    time.Time
	capacity []float64
	total    float64
	load     []float64 // of the fleet in each hour
}

func newHistory(start time.Time) history {
	h := history{start: start, capacity: []float64{100e6, 100e6, 200e6}, total: 400e6}
	for hour := range hours {
		load := 0.6 + 0.4*math.Sin(2*math.Pi*float64(hour%24)/24)
		if hour/24%7 >= 5 {
			load *= 0.7
		}
		h.load = append(h.load, 0.3*h.total*load*(1+0.03*float64(hour)/(7*24)))
	}
	return h
}

// used is what a node carries of the load: its share of the capacity.
func (h history) used(node, hour int) float64 { return h.load[hour] * h.capacity[node] / h.total }

// peak is the highest load of the days that end with the hour.
func (h history) peak(days, hour int) float64 {
	return slices.Max(h.load[max(0, hour-days*24) : hour+1])
}

// trend is the growth a second of the weekly peak, by least squares over 14 days.
func (h history) trend() float64 {
	var n, x, y, xx, xy float64
	for hour := last - 14*24; hour <= last; hour++ {
		at, peak := 3600*float64(hour-last), h.peak(7, hour)
		n, x, y, xx, xy = n+1, x+at, y+peak, xx+at*at, xy+at*peak
	}
	return (n*xy - x*y) / (n*xx - x*x)
}

// until80 is when the trend of the weekly peak reaches 80% of the capacity.
func (h history) until80() float64 { return (0.8*h.total - h.peak(7, last)) / h.trend() }

// month are the utilisations of the last 30 days.
func (h history) month() (ratios []float64) {
	for _, load := range h.load[last-30*24:] {
		ratios = append(ratios, load/h.total)
	}
	return ratios
}

// p95 interpolates between the ranks, as quantile_over_time does.
func (h history) p95() float64 {
	ratios := slices.Sorted(slices.Values(h.month()))
	rank := 0.95 * float64(len(ratios)-1)
	low := ratios[int(rank)]
	return low + (rank-math.Floor(rank))*(ratios[int(rank)+1]-low)
}

// hourOfWeek is the labels of an hour, with 1 for Monday.
func (h history) hourOfWeek(hour int) string {
	at := h.start.Add(time.Duration(hour) * time.Hour).UTC()
	return fmt.Sprintf(`day="%d",hour="%02d"`, (int(at.Weekday())+6)%7+1, at.Hour())
}

// usual is the mean utilisation of the hour of the week that was last.
func (h history) usual() float64 {
	sum, n := 0.0, 0.0
	for hour := last; hour >= last-30*24; hour -= 7 * 24 {
		sum, n = sum+h.load[hour]/h.total, n+1
	}
	return sum / n
}

// A series has a value in each hour, or NaN for none.
type series struct {
	name, labels string
	value        func(hour int) float64
}

func constant(v float64) func(int) float64 { return func(int) float64 { return v } }

// raw are the series that the nodes export.
func (h history) raw() (all []series) {
	for node, capacity := range h.capacity {
		labels := fmt.Sprintf(`job="turnwarden",instance="n%d"`, node)
		all = append(all,
			series{"turnwarden_capacity_bytes_per_second", labels, constant(capacity)},
			series{"turnwarden_headroom_bytes_per_second", labels, func(hour int) float64 { return capacity - h.used(node, hour) }},
			series{"turnwarden_ready", labels, constant(1)},
			series{"turnwarden_allocations", labels, constant(500)})
	}
	return all
}

// expected are the values at the last hour, by the panel of capacity planning and
// by the PromQL, if any, that picks one of its series.
func (h history) expected() map[[2]string]float64 {
	const rest = 200e6
	now, week, day := h.load[last], h.peak(7, last), h.peak(1, last)
	node := func(n int) string { return fmt.Sprintf(` and on (instance) turnwarden_ready{instance="n%d"}`, n) }
	return map[[2]string]float64{
		{"Headroom now"}:                          (h.total - now) * 8,
		{"Headroom at the peak of the week"}:      (h.total - week) * 8,
		{"Utilisation now"}:                       now / h.total,
		{"p95 utilisation, 30 days"}:              h.p95(),
		{"Highest utilisation, 30 days"}:          slices.Max(h.month()),
		{"Until 80%"}:                             h.until80(),
		{"Room at the peak without it"}:           (rest - day) * 8,
		{"Until there is none"}:                   (rest - week) / h.trend(),
		{"Allocations that still fit without it"}: (rest - day) / (now / 1500),
		{"Nodes that serve"}:                      3,
		{"If this node dies", node(0)}:            now / (h.total - h.capacity[0]),
		{"If this node dies", node(2)}:            now / (h.total - h.capacity[2]),
		{"Growth, week on week"}:                  week/h.peak(7, last-7*24) - 1,
		{"Usual utilisation by hour of the week (UTC)", ` and on (day, hour) last_over_time(region_hour:turnwarden_utilisation:ratio_avg5m{` + h.hourOfWeek(last) + `}[1h])`}: h.usual(),
	}
}

// checks are queries that answer 1 if the panels say what was calculated. The
// order of additions differs, and with it the last digits.
func (h history) checks(t *testing.T) (queries []string) {
	t.Helper()
	for panel, value := range h.expected() {
		t.Logf("%s%s: %.6g", panel[0], panel[1], value)
		queries = append(queries, fmt.Sprintf("count(abs(((%s)%s) - %.17g) <= %g)", chosen.Replace(firstQuery(t, panel[0])), panel[1], value, 1e-6*value))
	}
	return queries
}

// firstQuery is that of a panel of capacity planning.
func firstQuery(t *testing.T, title string) string {
	t.Helper()
	for _, p := range capacity().Panels {
		if p.Title == title {
			return p.Targets[0].Expr
		}
	}
	t.Fatalf("no panel %q", title)
	return ""
}

// TestHistory holds the panels of capacity planning against a calculation by hand:
// raw series, the shipped rules over five weeks, the queries of the panels.
func TestHistory(t *testing.T) {
	h := newHistory(time.Unix(0, 0))
	test := testCase{Interval: "1h"}
	for _, s := range h.raw() {
		var values []string
		for hour := range hours {
			values = append(values, strconv.FormatFloat(s.value(hour), 'g', -1, 64))
		}
		test.Series = append(test.Series, testSeries{s.name + "{" + s.labels + "}", strings.Join(values, " ")})
	}
	for _, query := range h.checks(t) {
		test.Queries = append(test.Queries, testQuery{query, fmt.Sprintf("%dh", last), []testSample{{"{}", 1}}})
	}
	testFile{Interval: "1h", Tests: []testCase{test}}.run(t)
}
