package drain

import (
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service"
)

func TestDrainPhase(t *testing.T) {
	now := time.Unix(1000, 0)
	later, before := now.Add(time.Second), now.Add(-time.Second)
	// busy has calls, time, and readers that may not have noticed.
	busy := view{at: now, then: service.ThenHold, told: later, deadline: later}
	with := func(edit func(v *view)) view { v := busy; edit(&v); return v }
	for name, c := range map[string]struct {
		from service.DrainPhase
		v    view
		want service.DrainPhase
	}{
		"not our turn":                      {service.DrainQueued, with(func(v *view) { v.idle, v.deadline = true, before }), service.DrainQueued},
		"our turn":                          {service.DrainQueued, with(func(v *view) { v.turn = true }), service.DrainTelling},
		"given up before it began":          {service.DrainQueued, with(func(v *view) { v.resumed, v.turn = true, true }), service.DrainOver},
		"SIGTERM waits for no turn":         {service.DrainQueued, with(func(v *view) { v.stopping = true }), service.DrainTelling},
		"SIGTERM and a resume":              {service.DrainQueued, with(func(v *view) { v.stopping, v.resumed = true, true }), service.DrainTelling},
		"readers may not know":              {service.DrainTelling, busy, service.DrainTelling},
		"readers know":                      {service.DrainTelling, with(func(v *view) { v.told = now }), service.DrainEnding},
		"nobody is here":                    {service.DrainTelling, with(func(v *view) { v.idle = true }), service.DrainEnding},
		"the child is gone":                 {service.DrainTelling, with(func(v *view) { v.down = true }), service.DrainEnding},
		"no time for readers":               {service.DrainTelling, with(func(v *view) { v.deadline = now }), service.DrainEnding},
		"hurried before readers know":       {service.DrainTelling, with(func(v *view) { v.stopping, v.hurried = true, true }), service.DrainEnding},
		"resumed before anything ended":     {service.DrainTelling, with(func(v *view) { v.resumed = true }), service.DrainOver},
		"calls":                             {service.DrainEnding, busy, service.DrainEnding},
		"calls, for as long as they last":   {service.DrainEnding, with(func(v *view) { v.deadline = time.Time{} }), service.DrainEnding},
		"SIGTERM leaves calls their time":   {service.DrainEnding, with(func(v *view) { v.stopping = true }), service.DrainEnding},
		"empty, then hold":                  {service.DrainEnding, with(func(v *view) { v.idle = true }), service.DrainHeld},
		"empty, then restart":               {service.DrainEnding, with(func(v *view) { v.idle, v.then = true, service.ThenRestart }), service.DrainRestarting},
		"empty, then stop":                  {service.DrainEnding, with(func(v *view) { v.idle, v.then = true, service.ThenStop }), service.DrainStopping},
		"empty, and SIGTERM":                {service.DrainEnding, with(func(v *view) { v.idle, v.stopping, v.then = true, true, service.ThenRestart }), service.DrainStopping},
		"the deadline":                      {service.DrainEnding, with(func(v *view) { v.deadline = now }), service.DrainHeld},
		"a second signal":                   {service.DrainEnding, with(func(v *view) { v.stopping, v.hurried = true, true }), service.DrainStopping},
		"the child has gone with its calls": {service.DrainEnding, with(func(v *view) { v.down = true }), service.DrainHeld},
		"resumed, the calls go on":          {service.DrainEnding, with(func(v *view) { v.resumed = true }), service.DrainOver},
		"held":                              {service.DrainHeld, with(func(v *view) { v.idle, v.deadline = true, before }), service.DrainHeld},
		"held, resumed":                     {service.DrainHeld, with(func(v *view) { v.idle, v.resumed = true, true }), service.DrainOver},
		"held without a child, resumed":     {service.DrainHeld, with(func(v *view) { v.down, v.resumed = true, true }), service.DrainRestarting},
		"held, restart asked for":           {service.DrainHeld, with(func(v *view) { v.then = service.ThenRestart }), service.DrainRestarting},
		"held, stop asked for":              {service.DrainHeld, with(func(v *view) { v.then = service.ThenStop }), service.DrainStopping},
		"held, SIGTERM":                     {service.DrainHeld, with(func(v *view) { v.stopping = true }), service.DrainStopping},
		"restarting":                        {service.DrainRestarting, with(func(v *view) { v.then, v.idle, v.deadline = service.ThenRestart, true, before }), service.DrainRestarting},
		"restarted":                         {service.DrainRestarting, with(func(v *view) { v.then, v.serves = service.ThenRestart, true }), service.DrainOver},
		"restarting, resumed":               {service.DrainRestarting, with(func(v *view) { v.resumed = true }), service.DrainOver},
		"restarting, stop asked for":        {service.DrainRestarting, with(func(v *view) { v.then = service.ThenStop }), service.DrainStopping},
		"restarting, hold asked for":        {service.DrainRestarting, busy, service.DrainRestarting},
		"restarted, hold asked for":         {service.DrainRestarting, with(func(v *view) { v.serves = true }), service.DrainHeld},
		"restarting, SIGTERM":               {service.DrainRestarting, with(func(v *view) { v.stopping, v.serves = true, true }), service.DrainStopping},
	} {
		t.Run(name, func(t *testing.T) {
			if got := next(c.from, c.v); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestDrainEnds: whatever is seen, SIGTERM with a deadline in the past leads to the end,
// and no phase is visited twice.
func TestDrainEnds(t *testing.T) {
	now := time.Unix(1000, 0)
	for i := range 1 << 6 {
		bit := func(n int) bool { return i>>n&1 == 1 }
		v := view{
			at: now, then: []string{service.ThenStop, service.ThenRestart, service.ThenHold}[i%3], deadline: now, told: now.Add(time.Hour), stopping: true,
			turn: bit(0), idle: bit(1), down: bit(2), serves: bit(3), resumed: bit(4), hurried: bit(5),
		}
		for _, from := range []service.DrainPhase{service.DrainQueued, service.DrainTelling, service.DrainEnding, service.DrainHeld, service.DrainRestarting} {
			p := from
			for range 5 {
				p = next(p, v)
			}
			if p != service.DrainStopping {
				t.Errorf("from %s, seeing %+v: %s", from, v, p)
			}
		}
	}
}
