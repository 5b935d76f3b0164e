package service

import (
	"fmt"
	"time"

	"github.com/turnwarden/turnwarden/service/coturn"
)

// Notes are what an operator should see to although the node is listed: clients
// are served, but not all of them, or not for long.
func Notes(s Status) []string {
	var notes []string
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	for _, a := range s.Probe.Answers {
		// While the first fails, that is the reason for not being ready.
		if a.Failing && s.Probe.Failures == 0 {
			add("probe: %s fails, and with it its clients: %s", a.Transport, a.Err)
		}
		if a.Certificate.Expiring(s.At) {
			add("certificate: the one that %s clients are shown ends on %s", a.Transport, a.Certificate.NotAfter.UTC().Format(time.DateTime))
		}
	}
	if s.Probe.Misadvertised != "" {
		add("external-ip: %s", s.Probe.Misadvertised)
	}
	if s.Untried {
		add("coturn %s is newer than %v, the newest that this turnwarden was tried with: compare its counters with turnserver's own", s.Coturn, coturn.Newest)
	}
	if s.Sessions.Unread {
		add("log format of coturn %s not understood: counters are incomplete", s.Coturn)
	}
	return notes
}
