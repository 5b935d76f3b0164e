package web

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/version"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/transport/web/page"
)

// maxRows of nodes are shown: a page with thousands helps nobody.
const maxRows = 200

// gatewayPage is what the status page says of a gateway.
func gatewayPage(s service.GatewayStatus, links []page.Link) page.Page {
	p := page.Page{
		Kind: "TURN gateway", Name: "Fleet", Links: links, Version: "turnwarden " + version.Version,
		Sections: []page.Section{nodesOf(s), answersOf(s), sightOf(s), troubles(s.At, s.Journal)},
	}
	p.Tone, p.Headline, p.Reasons = fleetVerdict(s)
	return p
}

// fleetVerdict says in words whether there is room, and why not.
func fleetVerdict(s service.GatewayStatus) (tone page.Tone, headline string, why []string) {
	if text := s.Why(); text != "" {
		return page.Bad, "No server to hand out", append([]string{text}, unused(s)...)
	}
	if !s.Fleet.Live(s.At) {
		why = append(why, "zookeeper: "+sight(s))
	}
	if s.Fleet.Held > 0 {
		why = append(why, count(s.Fleet.Held, "server")+" vanished from ZooKeeper at once: each is served only if it answers")
	}
	if s.Fleet.Rejected > 0 {
		why = append(why, count(s.Fleet.Rejected, "record")+" cannot be understood")
	}
	if n := len(s.Avoided); n > 0 {
		why = append(why, count(n, "server")+" could not be asked for a credential")
	}
	sum := s.Fleet.Sum()
	switch {
	case sum.FreeMbps <= 0:
		tone, headline = page.Bad, fmt.Sprintf("No room left: %s, the least loaded are handed out", count(sum.Nodes, "server"))
	case len(why) > 0:
		tone = page.Warn
	default:
		tone = page.Good
	}
	if headline == "" {
		headline = fmt.Sprintf("%d of %s usable, %s free", sum.Nodes, count(len(s.Fleet.Nodes), "server"), mbits(sum.FreeMbps))
	}
	return tone, headline, append(why, unused(s)...)
}

// unused says in a line how many nodes are not handed out, and by what they say.
func unused(s service.GatewayStatus) []string {
	states, n := map[string]int{}, 0
	for _, node := range s.Fleet.Nodes {
		if !node.Candidate().Up {
			states[node.State()]++
			n++
		}
	}
	if n == 0 {
		return nil
	}
	var parts []string
	for _, state := range slices.Sorted(maps.Keys(states)) {
		parts = append(parts, fmt.Sprintf("%d %s", states[state], state))
	}
	return []string{count(n, "server") + " not used: " + strings.Join(parts, ", ")}
}

// nodesOf lists those first that want to be looked at.
func nodesOf(s service.GatewayStatus) page.Section {
	nodes := slices.Clone(s.Fleet.Nodes)
	slices.SortStableFunc(nodes, func(a, b *service.FleetNode) int {
		return cmp.Compare(stateOf(s, a).Tone.Weight(), stateOf(s, b).Tone.Weight())
	})
	table := &page.Table{Columns: []string{"Server", "State", "Headroom", "Allocations", "Place", "Generation", "Written", "Version"}}
	for _, n := range nodes[:min(maxRows, len(nodes))] {
		table.Rows = append(table.Rows, rowOf(s, n))
	}
	sum := s.Fleet.Sum()
	section := page.Section{ID: "nodes", Title: "Servers", Table: table, Empty: "None is registered.", Wide: true, Facts: []page.Fact{
		{Name: "Free", Cell: room(sum.FreeMbps, sum.CapacityMbps)},
		fact("Allocations", strconv.Itoa(sum.Allocations)),
	}}
	if more := len(nodes) - maxRows; more > 0 {
		table.Caption = fmt.Sprintf("and %d more; turnwarden servers lists them all", more)
	}
	return section
}

func rowOf(s service.GatewayStatus, n *service.FleetNode) []page.Cell {
	r := &n.Record
	place := r.Region
	if r.Zone != "" && r.Zone != r.Region {
		place = strings.TrimSpace(place + " " + r.Zone)
	}
	return []page.Cell{
		{Text: n.Name},
		stateOf(s, n), room(r.FreeTraffic, r.CapacityMbps),
		{Text: strconv.Itoa(r.Allocations)},
		{Text: cmp.Or(place, "–")},
		{Text: strconv.FormatUint(r.Generation, 10)},
		ago(s.At, n.Written),
		{Text: cmp.Or(r.Version, "–")},
	}
}

func stateOf(s service.GatewayStatus, n *service.FleetNode) page.Cell {
	state := page.Cell{Text: n.State(), Tone: page.Good, Detail: whyNot(n, s.Avoided)}
	switch {
	case state.Text == service.StateDown || state.Text == service.StateForeignServer:
		state.Tone = page.Bad
	case state.Detail != "":
		state.Tone = page.Warn
	}
	return state
}

// room shows the free part of a capacity.
func room(free, capacity float64) page.Cell {
	text := mbits(max(0, free))
	if capacity > 0 {
		text += " of " + mbits(capacity)
	}
	return page.Cell{Text: text, Bar: &page.Bar{Part: free, Whole: capacity}}
}

// whyNot says why no client is sent to a node, or not gladly; "" = nothing is wrong with it.
func whyNot(n *service.FleetNode, avoided map[string]string) string {
	state, up := n.State(), n.Candidate().Up
	why, refused := avoided[n.Name]
	switch {
	case up && refused:
		return "picked only if there is no other, for it could not be asked: " + why
	case n.Held:
		return "its record vanished with most of the others: used only if it answers"
	case state == service.StateUp && n.Doubt == "" && n.Record.FreeTraffic <= 0:
		return "all of its capacity is in use"
	case up && state != service.StateFull:
		return ""
	default:
		return cmp.Or(map[string]string{
			service.StateWarming:           "has not measured its traffic yet",
			service.StateFull:              "refuses further allocations: its quota or its relay ports are used up",
			service.StateDown:              "its TURN server does not serve",
			service.StateDraining:          "waits for its calls to end",
			service.StateMaintenance:       "its operator wants no new clients there",
			service.StateForeignServer:     "somebody else has the port of its TURN server",
			string(service.NodeStale):      "its record has not been written for three of its intervals",
			string(service.NodeSuperseded): "another node has registered under its address since",
			string(service.NodeForbidden):  "its address is outside gateway.node.allow_cidrs",
		}[state], "says nothing that this version understands")
	}
}

func answersOf(s service.GatewayStatus) page.Section {
	number := func(name string, n uint64) page.Fact { return fact(name, strconv.FormatUint(n, 10)) }
	c := s.Counts
	none := number("Requests without an answer", c.None)
	if c.None > 0 {
		none.Tone = page.Warn
	}
	return page.Section{ID: "answers", Title: "Answers since the start", Facts: []page.Fact{
		number("Credentials from memory", c.Kept),
		number("Credentials fetched from a node", c.Fetched),
		none,
		number("A second node asked, the first was slow", c.Slow),
		number("A second node asked, the first failed", c.Failed),
		fact("Questions to nodes that failed", fmt.Sprintf("%d of %d", c.FetchesFailed, c.Fetches)),
		fact("Credentials kept now", strconv.Itoa(s.Kept)),
	}}
}

func sightOf(s service.GatewayStatus) page.Section {
	session := page.Cell{Text: string(s.Session.State), Tone: page.Warn}
	if s.Session.State == service.SessionConnected {
		session.Tone = page.Good
	}
	facts := []page.Fact{{Name: "ZooKeeper session", Cell: session}}
	if !s.Fleet.Confirmed.IsZero() {
		confirmed := since(s.At, s.Fleet.Confirmed)
		if !s.Fleet.Live(s.At) {
			confirmed.Tone = page.Warn
		}
		facts = append(facts, page.Fact{Name: "Age of this view", Cell: confirmed})
	}
	facts = append(facts, fact("Sessions lost", strconv.FormatUint(s.Session.Expirations, 10)), fact("Records not understood", strconv.Itoa(s.Fleet.Rejected)))
	if s.Session.LastError != "" {
		facts = append(facts, page.Fact{Name: "Trouble", Cell: page.Cell{Text: s.Session.LastError, Tone: page.Bad}})
	}
	return page.Section{ID: "zookeeper", Title: "ZooKeeper", Facts: facts}
}
