package metrics_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/turnwarden/turnwarden/metrics"
	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/calls"
)

// TestCardinality: whoever calls, whatever they send, a node has the same series, and
// reading the counts for a scrape costs what it always does.
func TestCardinality(t *testing.T) {
	var before int
	var cost float64
	for _, users := range []int{10, 1000, 100_000} {
		log := calls.NewLog(slog.New(slog.DiscardHandler))
		for user := range users {
			for _, line := range []string{
				"session %018[1]d: realm <example.org> user <>: incoming packet message processed, error 401: Unauthorized",
				"session %018[1]d: new, realm=<example.org>, username=<caller-%[1]d>, lifetime=600",
				"session %018[1]d: peer 192.0.2.7:%[1]d lifetime updated: 600",
				"session %018[1]d: realm <example.org> user <caller-%[1]d>: incoming packet message processed, error %[2]d: x",
				"ERROR: check_stun_auth: Cannot find credentials of user <caller-%[1]d>",
				"session %018[1]d: peer usage: realm=<example.org>, username=<caller-%[1]d>, rp=1, rb=%[3]d, sp=1, sb=1",
				"session %018[1]d: closed (2nd stage), user <caller-%[1]d> realm <far-%[1]d> origin <origin-%[1]d>, local 10.0.0.1:3478, remote 192.0.2.7:%[1]d, reason: far-%[1]d",
				"session %018[1]d: delete: realm=<example.org>, username=<caller-%[1]d>",
			} {
				if user%2 == 0 && strings.Contains(line, "delete:") {
					continue // half of the calls go on
				}
				line = strings.ReplaceAll(line, "error %[2]d", fmt.Sprint("error ", 300+user%400))
				line = strings.ReplaceAll(line, "rb=%[3]d", fmt.Sprint("rb=", user%60_000))
				log.Stdout(fmt.Appendf(nil, "7: : "+line, user))
			}
		}
		m := metrics.New()
		status := serving()
		status.Sessions = log.Sessions()
		m.Observe(func() service.Status { return status })
		text, _ := exposition(t, m, "")
		series := 0
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "turnwarden_") {
				series++
			}
		}
		t.Logf("%d users: %d series, %d bytes", users, series, len(text))
		if before != 0 && series != before {
			t.Errorf("%d series for %d users, %d for fewer", series, users, before)
		}
		if strings.Contains(text, "caller-") || strings.Contains(text, "192.0.2.7") || strings.Contains(text, "far-") || strings.Contains(text, "origin-") {
			t.Errorf("a name of a user, a peer or an origin in:\n%s", text)
		}
		if got := status.Sessions.Created; got != uint64(users) {
			t.Errorf("counted %d allocations of %d users", got, users)
		}
		allocs := testing.AllocsPerRun(10, func() { log.Sessions() })
		if before != 0 && allocs != cost {
			t.Errorf("%v allocations for the counts of %d users, %v for fewer", allocs, users, cost)
		}
		before, cost = series, allocs
	}
}
