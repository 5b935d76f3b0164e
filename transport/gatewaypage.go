package transport

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/prometheus/common/version"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/fleet"
	"github.com/turnwarden/turnwarden/transport/page"
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
	free, roomy, usable := 0.0, 0, s.Usable()
	for _, n := range s.Fleet.Nodes {
		if n.Candidate().Up {
			free += n.Record.FreeTraffic
			if n.Record.FreeTraffic > 0 {
				roomy++
			}
		}
	}
	if text := s.Why(); text != "" {
		return page.Bad, "No server to hand out", []string{text}
	}
	if !s.Fleet.Live(s.At) {
		why = append(why, "zookeeper: "+sight(s))
	}
	if s.Fleet.Held > 0 {
		why = append(why, count(s.Fleet.Held, "node")+" vanished from ZooKeeper at once: each is served only if it answers")
	}
	if s.Fleet.Rejected > 0 {
		why = append(why, count(s.Fleet.Rejected, "record")+" cannot be understood")
	}
	if s.Avoided > 0 {
		why = append(why, count(s.Avoided, "node")+" could not be asked for a credential")
	}
	tone, headline = page.Good, fmt.Sprintf("%d of %s with room, %s free", roomy, count(len(s.Fleet.Nodes), "node"), mbits(free))
	if roomy == 0 {
		return page.Bad, fmt.Sprintf("No room left: %s, the least loaded are handed out", count(usable, "server")), why
	}
	if len(why) > 0 {
		tone = page.Warn
	}
	return tone, headline, why
}

// nodesOf lists those first that want to be looked at.
func nodesOf(s service.GatewayStatus) page.Section {
	nodes := slices.Clone(s.Fleet.Nodes)
	slices.SortStableFunc(nodes, func(a, b *fleet.Node) int {
		return cmp.Compare(rank(a), rank(b))
	})
	table := &page.Table{Columns: []string{"Node", "State", "Free", "Capacity", "Allocations", "Region", "Zone", "Generation", "Written", "Version"}}
	for _, n := range nodes[:min(maxRows, len(nodes))] {
		r := &n.Record
		state := page.Cell{Text: n.State(), Tone: page.Good}
		if rank(n) < 1 {
			state.Tone = page.Warn
		}
		if n.Held {
			state = page.Cell{Text: state.Text + ", vanished", Tone: page.Warn}
		}
		table.Rows = append(table.Rows, []page.Cell{
			{Text: n.Name},
			state,
			{Text: mbits(r.FreeTraffic)},
			{Text: mbits(r.CapacityMbps)},
			{Text: strconv.Itoa(r.Allocations)},
			{Text: r.Region},
			{Text: r.Zone},
			{Text: strconv.FormatUint(r.Generation, 10)},
			ago(s.At, n.Written),
			{Text: r.Version},
		})
	}
	section := page.Section{ID: "nodes", Title: "Nodes", Table: table, Empty: "None is registered.", Wide: true}
	if more := len(nodes) - maxRows; more > 0 {
		table.Caption = fmt.Sprintf("and %d more; turnwarden servers lists them all", more)
	}
	return section
}

// rank is 0 for a node that serves nobody new, 1 for one that does.
func rank(n *fleet.Node) int {
	if n.Candidate().Up && n.Record.FreeTraffic > 0 && !n.Held {
		return 1
	}
	return 0
}

func answersOf(s service.GatewayStatus) page.Section {
	number := func(name string, n uint64) page.Fact { return fact(name, strconv.FormatUint(n, 10)) }
	c := s.Counts
	return page.Section{ID: "answers", Title: "Answers", Facts: []page.Fact{
		number("Credentials from memory", c.Kept),
		number("Credentials fetched from a node", c.Fetched),
		number("Requests without an answer", c.None),
		number("A second node asked, the first was slow", c.Slow),
		number("A second node asked, the first failed", c.Failed),
		fact("Credentials kept", strconv.Itoa(s.Kept)),
		fact("Nodes avoided", strconv.Itoa(s.Avoided)),
	}}
}

func sightOf(s service.GatewayStatus) page.Section {
	session := page.Cell{Text: string(s.Session.State), Tone: page.Warn}
	if s.Session.State == directory.Connected {
		session.Tone = page.Good
	}
	facts := []page.Fact{{Name: "ZooKeeper session", Cell: session}}
	if !s.Fleet.Confirmed.IsZero() {
		facts = append(facts, page.Fact{Name: "Last answer", Cell: ago(s.At, s.Fleet.Confirmed)})
	}
	facts = append(facts, fact("Sessions lost", strconv.FormatUint(s.Session.Expirations, 10)), fact("Records not understood", strconv.Itoa(s.Fleet.Rejected)))
	if s.Session.LastError != "" {
		facts = append(facts, page.Fact{Name: "Trouble", Cell: page.Cell{Text: s.Session.LastError, Tone: page.Bad}})
	}
	return page.Section{ID: "zookeeper", Title: "ZooKeeper", Facts: facts}
}
