package supervisor

import (
	"testing"
	"time"
)

func TestPolicyNext(t *testing.T) {
	p := Policy{Delay: 3 * time.Second, Max: time.Minute, StableAfter: time.Minute}
	tests := map[string]struct {
		policy    Policy
		short     int
		ran       time.Duration
		random    float64
		wantDelay time.Duration
		wantShort int
	}{
		"first failed start":        {policy: p, wantDelay: 3 * time.Second, wantShort: 1},
		"third short run":           {policy: p, short: 2, ran: time.Second, wantDelay: 12 * time.Second, wantShort: 3},
		"largest doubling":          {policy: p, short: 4, ran: time.Second, wantDelay: 48 * time.Second, wantShort: 5},
		"at the limit":              {policy: p, short: 5, ran: time.Second, wantDelay: time.Minute, wantShort: 6},
		"long after the limit":      {policy: p, short: 1 << 20, wantDelay: time.Minute, wantShort: 1<<20 + 1},
		"just not stable":           {policy: p, short: 5, ran: time.Minute - 1, wantDelay: time.Minute, wantShort: 6},
		"stable":                    {policy: p, short: 5, ran: time.Minute, random: 0.9, wantDelay: 0, wantShort: 0},
		"half of the jitter":        {policy: p, random: 0.5, wantDelay: 3300 * time.Millisecond, wantShort: 1},
		"jitter at the limit":       {policy: p, short: 9, random: 0.75, wantDelay: 69 * time.Second, wantShort: 10},
		"delay above its own limit": {policy: Policy{Delay: time.Hour, Max: time.Minute, StableAfter: 1}, wantDelay: time.Minute, wantShort: 1},
		"no overflow":               {policy: Policy{Delay: 1, Max: 1 << 62, StableAfter: 1}, short: 100, wantDelay: 1 << 62, wantShort: 101},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			delay, short := tt.policy.next(tt.short, tt.ran, tt.random)
			if delay != tt.wantDelay || short != tt.wantShort {
				t.Errorf("next(%d, %v, %v) = %v, %d; want %v, %d", tt.short, tt.ran, tt.random, delay, short, tt.wantDelay, tt.wantShort)
			}
		})
	}
}
