package web

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/version"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/transport/web/page"
)

// nodePage is what the status page says of a node.
func nodePage(s service.Status, links []page.Link) page.Page {
	p := page.Page{
		Kind: "TURN node", Name: s.Node, Links: links, Version: "turnwarden " + version.Version,
		Sections: []page.Section{throughput(s), turnServer(s), probes(s), generations(s), record(s), troubles(s.At, s.Journal)},
	}
	p.Tone, p.Headline, p.Reasons = verdict(s)
	if notes := service.Notes(s); len(notes) > 0 {
		p.Reasons = append(p.Reasons, notes...)
		if p.Tone == page.Good {
			p.Tone = page.Warn
		}
	}
	return p
}

// verdict says in words whether clients are sent here, and why not.
func verdict(s service.Status) (tone page.Tone, headline string, why []string) {
	reasons := service.Readiness(s)
	for _, r := range reasons {
		why = append(why, r.Text)
	}
	open := count(s.Sessions.Open, "allocation")
	var word string
	tone = page.Warn
	switch state := service.State(reasons); state {
	case service.StateUp:
		return offered(s, open)
	case service.StateDown:
		tone, word = page.Bad, "Down"
	case service.StateForeignServer:
		tone, word = page.Bad, "Somebody else has the port"
	default:
		word = strings.ToUpper(state[:1]) + state[1:]
	}
	return tone, fmt.Sprintf("%s, no new clients, %s", word, open), why
}

// offered is the verdict on a node that nothing keeps from being listed.
func offered(s service.Status, open string) (tone page.Tone, headline string, why []string) {
	room := fmt.Sprintf("%s free, %s", mbits(s.Traffic.FreeMbps), open)
	switch r := s.Registry; {
	case s.Traffic.FreeMbps <= 0:
		return page.Warn, "No room left, no new clients, " + open, []string{"traffic: all of the capacity is in use"}
	case r == nil:
		return page.Good, "Serving, " + room, []string{"standalone: registry.zookeeper is empty"}
	case !r.Registered:
		return page.Warn, "Serving, but not listed, " + room, []string{"registry: " + registration(*r)}
	case r.LastError != "":
		return page.Warn, "Listed, " + room, []string{"registry: " + registration(*r)}
	default:
		return page.Good, "Listed, " + room, nil
	}
}

func throughput(s service.Status) page.Section {
	chart := &page.Chart{
		From: s.At.Add(-service.HistorySpan), To: s.At, Span: "an hour ago",
		// Points are half a minute apart, or an interval where that is longer.
		Gap:    max(time.Minute, 3*s.Traffic.Interval),
		Format: func(bytes float64) string { return mbits(bytes * 8 / 1e6) },
		Series: []page.Series{{Name: "received"}, {Name: "sent"}},
	}
	for _, t := range s.History {
		chart.Series[0].Points = append(chart.Series[0].Points, page.Point{At: t.At, Value: t.RxBytesPerSecond})
		chart.Series[1].Points = append(chart.Series[1].Points, page.Point{At: t.At, Value: t.TxBytesPerSecond})
	}
	names := make([]string, 0, len(s.Traffic.Devices))
	for _, d := range s.Traffic.Devices {
		names = append(names, d.Name)
	}
	facts := []page.Fact{
		fact("Received", chart.Format(s.Traffic.RxBytesPerSecond)),
		fact("Sent", chart.Format(s.Traffic.TxBytesPerSecond)),
		fact("Capacity in each direction", chart.Format(s.Traffic.CapacityBytesPerSecond)),
		fact("Free", mbits(s.Traffic.FreeMbps)),
		fact("Interfaces", strings.Join(names, ", ")),
	}
	if s.Traffic.Err != "" {
		facts = append(facts, page.Fact{Name: "Trouble", Cell: page.Cell{Text: s.Traffic.Err, Tone: page.Warn}})
	}
	return page.Section{ID: "throughput", Title: "Throughput", Chart: chart, Facts: facts, Wide: true}
}

func turnServer(s service.Status) page.Section {
	c := s.Child
	state := page.Cell{Text: string(c.State), Tone: page.Warn}
	if c.State == service.ChildRunning {
		state.Tone = page.Good
	}
	facts := []page.Fact{{Name: "State", Cell: state}}
	if c.HaltCause != "" {
		facts = append(facts, page.Fact{Name: "Kept down", Cell: page.Cell{Text: c.HaltCause, Tone: page.Bad}})
	}
	if c.StartError != "" {
		facts = append(facts, page.Fact{Name: "Not started", Cell: page.Cell{Text: c.StartError, Tone: page.Bad}})
	}
	if c.PID != 0 {
		facts = append(facts, fact("Process", strconv.Itoa(c.PID)), page.Fact{Name: "Up for", Cell: since(s.At, c.StartedAt)})
	}
	if !c.NextStart.IsZero() {
		facts = append(facts, page.Fact{Name: "Next start in", Cell: until(s.At, c.NextStart)})
	}
	facts = append(facts, fact("Restarts", strconv.Itoa(c.Restarts)),
		fact("Allocations", fmt.Sprintf("%d open, %d made", s.Sessions.Open, s.Sessions.Created)))
	ended := &page.Table{Caption: "Ended runs", Columns: []string{"When", "Cause", "End", "Ran for"}}
	for _, e := range c.Exits {
		ended.Rows = append(ended.Rows, []page.Cell{ago(s.At, e.At), {Text: e.Cause}, {Text: e.String()}, {Text: duration(e.Ran)}})
	}
	return page.Section{ID: "server", Title: "TURN server", Facts: facts, Table: ended, Empty: "It has not ended since turnwarden was started."}
}

func probes(s service.Status) page.Section {
	r := s.Probe
	verdict := page.Cell{Text: "not serving", Tone: page.Bad}
	switch {
	case r.PID == 0:
		verdict = page.Cell{Text: "no TURN server to ask", Tone: page.Warn}
	case r.Foreign != "":
		verdict = page.Cell{Text: "suspended: " + r.Foreign, Tone: page.Bad}
	case !r.Served:
		verdict = page.Cell{Text: "no answer yet", Tone: page.Warn}
	case r.Serving && r.Failures > 0:
		verdict = page.Cell{Text: "serving, but the last probe failed", Tone: page.Warn}
	case r.Serving && r.Full:
		verdict = page.Cell{Text: fmt.Sprintf("full: %d", r.FullCode), Tone: page.Warn}
	case r.Serving:
		verdict = page.Cell{Text: "serving", Tone: page.Good}
	}
	facts := []page.Fact{{Name: "Verdict", Cell: verdict}}
	if !r.At.IsZero() {
		facts = append(facts, page.Fact{Name: "Last probe", Cell: ago(s.At, r.At)})
	}
	if r.RTT > 0 {
		facts = append(facts, fact("Round trip of an Allocate", fmt.Sprintf("%.1f ms", r.RTT.Seconds()*1e3)))
	}
	if r.Failures > 0 {
		facts = append(facts, page.Fact{Name: "Failures in a row", Cell: page.Cell{Text: strconv.Itoa(r.Failures), Tone: page.Warn}})
	}
	for _, a := range r.Answers {
		if a.Failures > 0 {
			facts = append(facts, page.Fact{Name: "Over " + string(a.Transport), Cell: page.Cell{Text: a.Err, Tone: page.Bad}})
		}
		if c := a.Certificate; !c.NotAfter.IsZero() {
			ends := until(s.At, c.NotAfter)
			if c.Expiring(s.At) {
				ends.Tone = page.Warn
			}
			facts = append(facts, page.Fact{Name: "Certificate valid for", Cell: ends})
		}
	}
	return page.Section{ID: "probe", Title: "Probe", Facts: facts, Table: probeStages(r.Answers), Empty: "Nothing has been asked yet."}
}

// probeStages has a row for each stage that was asked in the last round over any
// transport. None is asked after one that failed.
func probeStages(answers []service.ProbeAnswer) *page.Table {
	t := &page.Table{Caption: "Stages of the last round", Columns: []string{"The server"}}
	for _, a := range answers {
		t.Columns = append(t.Columns, strings.ToUpper(string(a.Transport)))
	}
	for _, stage := range []struct{ name, text string }{
		{service.StageResolve, "has opened the port"},
		{service.StageTLS, "shows a certificate"},
		{service.StageBind, "answers a Binding"},
		{service.StageUnauthorized, "refuses an Allocate without a credential"},
		{service.StageAllocate, "grants an Allocate with the credential, or is full"},
		{service.StageRelay, "relays a packet"},
		{service.StageRefresh, "ends the allocation"},
	} {
		row, asked := []page.Cell{{Text: stage.text}}, false
		for _, a := range answers {
			cell := page.Cell{Text: "–"}
			for _, o := range a.Outcomes {
				switch {
				case o.Stage != stage.name:
				case o.OK:
					asked, cell = true, page.Cell{Text: "good", Tone: page.Good}
				default:
					asked, cell = true, page.Cell{Text: "failed", Tone: page.Bad}
				}
			}
			row = append(row, cell)
		}
		if asked {
			t.Rows = append(t.Rows, row)
		}
	}
	return t
}

func generations(s service.Status) page.Section {
	c := s.Credential
	valid := page.Cell{Text: "none that is verified and valid", Tone: page.Bad}
	if c.Active != 0 {
		valid = page.Cell{Text: "generation " + strconv.FormatUint(c.Active, 10), Tone: page.Good}
	}
	facts := []page.Fact{{Name: "Handed out", Cell: valid}}
	if c.Active != 0 {
		facts = append(facts, page.Fact{Name: "Age", Cell: since(s.At, c.Published)}, page.Fact{Name: "Valid for", Cell: until(s.At, c.Expires)})
	}
	if c.Failure != "" {
		facts = append(facts, page.Fact{Name: "Rotation fails", Cell: page.Cell{Text: c.Failure, Tone: page.Bad}})
	}
	if c.DeletesPending > 0 {
		facts = append(facts, page.Fact{Name: "Deletes pending", Cell: page.Cell{Text: strconv.Itoa(c.DeletesPending), Tone: page.Warn}})
	}
	all := &page.Table{Caption: "Generations", Columns: []string{"No.", "State", "Published", "Valid for", "Handed out"}}
	for _, g := range slices.Backward(c.Generations) {
		published, left, fetched := page.Cell{Text: "not yet"}, page.Cell{Text: "–"}, "no"
		if !g.Published.IsZero() {
			published, left = ago(s.At, g.Published), until(s.At, g.Expires)
		} else if !g.Expires.IsZero() { // another program has
			published, left = page.Cell{Text: "imported"}, until(s.At, g.Expires)
		}
		if g.Fetched {
			fetched = "yes"
		}
		state := page.Cell{Text: string(g.State)}
		switch g.State {
		case service.GenerationActive:
			state.Tone = page.Good
		case service.GenerationRevoked:
			state.Tone = page.Bad
		}
		all.Rows = append(all.Rows, []page.Cell{{Text: strconv.FormatUint(g.ID, 10)}, state, published, left, {Text: fetched}})
	}
	return page.Section{ID: "credential", Title: "Credential", Facts: facts, Table: all, Empty: "None has been made yet."}
}

func record(s service.Status) page.Section {
	section := page.Section{ID: "registration", Title: "Registration"}
	r := s.Registry
	if r == nil {
		section.Empty = "This node stands alone: registry.zookeeper is empty."
		return section
	}
	session := page.Cell{Text: string(r.Session.State), Tone: page.Warn}
	if r.Session.State == service.SessionConnected {
		session.Tone = page.Good
	}
	registered := page.Cell{Text: "no", Tone: page.Warn}
	if r.Registered {
		registered = page.Cell{Text: "yes", Tone: page.Good}
	}
	section.Facts = []page.Fact{{Name: "ZooKeeper session", Cell: session}, {Name: "Record is there", Cell: registered}}
	if !r.LastPublish.IsZero() {
		section.Facts = append(section.Facts, page.Fact{Name: "Last write", Cell: ago(s.At, r.LastPublish)},
			fact("It says", fmt.Sprintf("%s, %s free", r.LastRecord.State, mbits(r.LastRecord.FreeTraffic))))
	}
	if r.LastError != "" {
		section.Facts = append(section.Facts, page.Fact{Name: "Trouble", Cell: page.Cell{Text: r.LastError, Tone: page.Bad}})
	}
	return section
}

func troubles(at time.Time, journal []service.Line) page.Section {
	section := page.Section{ID: "troubles", Title: "Last warnings and errors", Empty: "None since turnwarden was started.", Wide: true}
	for _, l := range journal {
		tone := page.Warn
		if l.Level >= slog.LevelError {
			tone = page.Bad
		}
		section.Lines = append(section.Lines, page.Line{At: ago(at, l.At), Tone: tone, Source: l.Part, Text: l.Text, Detail: l.Detail})
	}
	return section
}
