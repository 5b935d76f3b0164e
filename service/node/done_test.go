package node

import (
	"testing"

	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/traffic"
)

func TestDone(t *testing.T) {
	var d done
	for _, failures := range [][]int{{0, 0}, {1, 0}, {2, 0}, {2, 1}, {0, 2}, {1, 2}, {}, {0, 1}} {
		var answers []probe.Answer
		for i, n := range failures {
			answers = append(answers, probe.Answer{Transport: []probe.Transport{probe.UDP, probe.TLS}[i], Failures: n})
		}
		d.probed(answers)
	}
	if d.probesFailed != 2+2+1+1 {
		t.Errorf("%d probes failed, want 6", d.probesFailed)
	}
	for _, rx := range []map[string]uint64{{"a": 1000}, {"a": 1010}, {"a": 1010, "b": 5000}, {"a": 1020, "b": 5001}, {"b": 5002}, {"a": 5, "b": 5003}, {"a": 6, "b": 1}} {
		var s traffic.Sample
		for name, n := range rx {
			s.Devices = append(s.Devices, traffic.DeviceSample{Name: name, RxBytes: n, TxBytes: 2 * n})
		}
		d.measured(s)
	}
	if d.rx != 10+10+1+1+1+1 || d.tx != 2*d.rx {
		t.Errorf("%d bytes received and %d sent, want 24 and 48", d.rx, d.tx)
	}
}
