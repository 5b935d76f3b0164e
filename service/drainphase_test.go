package service

import (
	"testing"
	"time"
)

func TestDrainPhase(t *testing.T) {
	now := time.Unix(1000, 0)
	later, before := now.Add(time.Second), now.Add(-time.Second)
	// busy has calls, time, and readers that may not have noticed.
	busy := drainView{at: now, then: ThenHold, told: later, deadline: later}
	with := func(edit func(v *drainView)) drainView { v := busy; edit(&v); return v }
	for name, c := range map[string]struct {
		from DrainPhase
		v    drainView
		want DrainPhase
	}{
		"not our turn":                      {DrainQueued, with(func(v *drainView) { v.idle, v.deadline = true, before }), DrainQueued},
		"our turn":                          {DrainQueued, with(func(v *drainView) { v.turn = true }), DrainTelling},
		"given up before it began":          {DrainQueued, with(func(v *drainView) { v.resumed, v.turn = true, true }), drainOver},
		"SIGTERM waits for no turn":         {DrainQueued, with(func(v *drainView) { v.stopping = true }), DrainTelling},
		"SIGTERM and a resume":              {DrainQueued, with(func(v *drainView) { v.stopping, v.resumed = true, true }), DrainTelling},
		"readers may not know":              {DrainTelling, busy, DrainTelling},
		"readers know":                      {DrainTelling, with(func(v *drainView) { v.told = now }), DrainEnding},
		"nobody is here":                    {DrainTelling, with(func(v *drainView) { v.idle = true }), DrainEnding},
		"the child is gone":                 {DrainTelling, with(func(v *drainView) { v.down = true }), DrainEnding},
		"no time for readers":               {DrainTelling, with(func(v *drainView) { v.deadline = now }), DrainEnding},
		"hurried before readers know":       {DrainTelling, with(func(v *drainView) { v.stopping, v.hurried = true, true }), DrainEnding},
		"resumed before anything ended":     {DrainTelling, with(func(v *drainView) { v.resumed = true }), drainOver},
		"calls":                             {DrainEnding, busy, DrainEnding},
		"calls, for as long as they last":   {DrainEnding, with(func(v *drainView) { v.deadline = time.Time{} }), DrainEnding},
		"SIGTERM leaves calls their time":   {DrainEnding, with(func(v *drainView) { v.stopping = true }), DrainEnding},
		"empty, then hold":                  {DrainEnding, with(func(v *drainView) { v.idle = true }), DrainHeld},
		"empty, then restart":               {DrainEnding, with(func(v *drainView) { v.idle, v.then = true, ThenRestart }), DrainRestarting},
		"empty, then stop":                  {DrainEnding, with(func(v *drainView) { v.idle, v.then = true, ThenStop }), drainStopping},
		"empty, and SIGTERM":                {DrainEnding, with(func(v *drainView) { v.idle, v.stopping, v.then = true, true, ThenRestart }), drainStopping},
		"the deadline":                      {DrainEnding, with(func(v *drainView) { v.deadline = now }), DrainHeld},
		"a second signal":                   {DrainEnding, with(func(v *drainView) { v.stopping, v.hurried = true, true }), drainStopping},
		"the child has gone with its calls": {DrainEnding, with(func(v *drainView) { v.down = true }), DrainHeld},
		"resumed, the calls go on":          {DrainEnding, with(func(v *drainView) { v.resumed = true }), drainOver},
		"held":                              {DrainHeld, with(func(v *drainView) { v.idle, v.deadline = true, before }), DrainHeld},
		"held, resumed":                     {DrainHeld, with(func(v *drainView) { v.idle, v.resumed = true, true }), drainOver},
		"held without a child, resumed":     {DrainHeld, with(func(v *drainView) { v.down, v.resumed = true, true }), DrainRestarting},
		"held, restart asked for":           {DrainHeld, with(func(v *drainView) { v.then = ThenRestart }), DrainRestarting},
		"held, stop asked for":              {DrainHeld, with(func(v *drainView) { v.then = ThenStop }), drainStopping},
		"held, SIGTERM":                     {DrainHeld, with(func(v *drainView) { v.stopping = true }), drainStopping},
		"restarting":                        {DrainRestarting, with(func(v *drainView) { v.then, v.idle, v.deadline = ThenRestart, true, before }), DrainRestarting},
		"restarted":                         {DrainRestarting, with(func(v *drainView) { v.then, v.serves = ThenRestart, true }), drainOver},
		"restarting, resumed":               {DrainRestarting, with(func(v *drainView) { v.resumed = true }), drainOver},
		"restarting, stop asked for":        {DrainRestarting, with(func(v *drainView) { v.then = ThenStop }), drainStopping},
		"restarting, hold asked for":        {DrainRestarting, busy, DrainRestarting},
		"restarted, hold asked for":         {DrainRestarting, with(func(v *drainView) { v.serves = true }), DrainHeld},
		"restarting, SIGTERM":               {DrainRestarting, with(func(v *drainView) { v.stopping, v.serves = true, true }), drainStopping},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.from.next(c.v); got != c.want {
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
		v := drainView{
			at: now, then: []string{ThenStop, ThenRestart, ThenHold}[i%3], deadline: now, told: now.Add(time.Hour), stopping: true,
			turn: bit(0), idle: bit(1), down: bit(2), serves: bit(3), resumed: bit(4), hurried: bit(5),
		}
		for _, from := range []DrainPhase{DrainQueued, DrainTelling, DrainEnding, DrainHeld, DrainRestarting} {
			p := from
			for range 5 {
				p = p.next(v)
			}
			if p != drainStopping {
				t.Errorf("from %s, seeing %+v: %s", from, v, p)
			}
		}
	}
}
