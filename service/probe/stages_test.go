package probe

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-kit/kit/metrics"
)

// What is asked, in which order, and what is left out for a reason.
func TestStages(t *testing.T) {
	all := []string{StageBind, StageUnauthorized, StageAllocate, StageRelay, StageRefresh}
	for name, c := range map[string]struct {
		world  *world
		target func(*Target)
		want   []string
	}{
		"all":              {&world{}, func(*Target) {}, all},
		"no loopback peer": {&world{}, func(t *Target) { t.LoopbackPeers = false }, []string{StageBind, StageUnauthorized, StageAllocate, StageRefresh}},
		// A server with no-stun answers no Binding and is none the worse (coturn 4.6.1).
		"no STUN":       {&world{bind: silent}, func(t *Target) { t.NoSTUN = true }, all[1:]},
		"no TURN":       {&world{alloc: refused}, func(t *Target) { t.NoTURN = true }, all[:1]},
		"no credential": {&world{noCredential: true}, func(*Target) {}, all[:2]},
		"TLS":           {&world{}, func(t *Target) { t.Listeners[0].Transport = TLS }, append([]string{StageTLS}, all...)},
		// What was allocated is given back even so.
		"mute relay":    {&world{mute: mute}, func(*Target) {}, all},
		"silent":        {&world{bind: silent}, func(*Target) {}, all[:1]},
		"open":          {&world{anonymous: open}, func(*Target) {}, all[:2]},
		"no 401 at all": {&world{anonymous: unheard}, func(*Target) {}, all[:2]},
		"full":          {&world{alloc: quota}, func(*Target) {}, all[:3]},
	} {
		t.Run(name, func(t *testing.T) {
			c.world.pid = 1
			p := c.world.prober(usual)
			target := c.world.target()
			c.target(&target)
			p.set(newResult(target))
			p.probe(t.Context(), target)
			var want []string
			for _, stage := range c.want {
				want = append(want, string(target.Listeners[0].Transport)+" "+stage)
			}
			if !slices.Equal(c.world.asked, want) {
				t.Errorf("asked %q, want %q", c.world.asked, want)
			}
			good := (c.world.bind == nil || target.NoSTUN) && !target.NoTURN // which proves nothing of one that has just started
			if got := p.Last(); got.Serving != (good && c.world.anonymous == nil) || len(got.Answers[0].Outcomes) != 1+len(want) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// A server that keeps its 401s from our address (unauthorized-ratelimit of coturn 4.14) and
// serves from another is not judged by it.
func TestRateLimitedStranger(t *testing.T) {
	w := &world{pid: 1, anonymous: unheard, limited: true}
	p := w.prober(usual)
	target := w.target()
	p.set(newResult(target))
	p.probe(t.Context(), target)
	if got := p.Last(); !got.Serving || got.Failures != 0 {
		t.Errorf("got %+v", got)
	}
	if want := []string{"udp bind", "udp unauthorized", "udp unauthorized", "udp allocate", "udp relay", "udp refresh"}; !slices.Equal(w.asked, want) {
		t.Errorf("asked %q, want %q", w.asked, want)
	}
}

// The histogram tells how long good probes take; time-outs would drown that.
func TestDuration(t *testing.T) {
	w := &world{pid: 1}
	p := w.prober(usual)
	var observed, rtts observations
	p.m.Duration, p.m.RTT = &observed, &rtts
	for _, err := range []error{nil, silent, nil} {
		w.bind = err
		p.probe(t.Context(), w.target())
	}
	if want := (observations{"transport=udp", "transport=udp"}); !slices.Equal(observed, want) || !slices.Equal(rtts, want) {
		t.Errorf("observed: got %v and %v, want %v", observed, rtts, want)
	}
}

type observations []string

func (o *observations) With(labels ...string) metrics.Histogram {
	*o = append(*o, strings.Join(labels, "="))
	return o
}

func (o *observations) Observe(float64) {}
