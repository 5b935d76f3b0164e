package traffic_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/turnwarden/turnwarden/service/traffic"
)

func TestProcfs(t *testing.T) {
	for name, test := range map[string]struct {
		names []string
		want  []traffic.Device
	}{
		"a physical link":            {[]string{"eth0"}, []traffic.Device{{"eth0", 154109948, 526446, 3, 10000}}},
		"a bond":                     {[]string{"bond0"}, []traffic.Device{{"bond0", 208219896, 1052893, 7, 20000}}},
		"a VLAN":                     {[]string{"bond0.100"}, []traffic.Device{{"bond0.100", 108219896, 952893, 0, 20000}}},
		"a counter at its last bit":  {[]string{"veth0"}, []traffic.Device{{"veth0", math.MaxUint64, 526446, 0, 10000}}},
		"speed -1":                   {[]string{"cloud0"}, []traffic.Device{{"cloud0", 1000, 2000, 0, 0}}},
		"speed -1 as unsigned":       {[]string{"old0"}, []traffic.Device{{"old0", 1000, 2000, 0, 0}}},
		"no speed attribute":         {[]string{"wg0"}, []traffic.Device{{"wg0", 1000, 2000, 0, 0}}},
		"not in sysfs":               {[]string{"lo"}, []traffic.Device{{"lo", 3193, 3193, 0, 0}}},
		"a list, one of it vanished": {[]string{"eth1", "eth7", "eth0"}, []traffic.Device{{"eth1", 54109948, 526447, 4, 10000}, {"eth0", 154109948, 526446, 3, 10000}}},
	} {
		t.Run(name, func(t *testing.T) {
			src, err := traffic.NewProcfs("testdata/proc", "testdata/sys", test.names)
			if err != nil {
				t.Fatal(err)
			}
			before := time.Now()
			r, err := src.Read()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, r.Devices); diff != "" {
				t.Error(diff)
			}
			if r.At.Before(before) || r.At.After(time.Now()) {
				t.Errorf("read at %v, not between %v and now", r.At, before)
			}
		})
	}
}

func TestProcfsErrors(t *testing.T) {
	if _, err := traffic.NewProcfs("testdata/none", "testdata/sys", nil); err == nil {
		t.Error("a proc file system that is not there was opened")
	}
	for name, test := range map[string]struct{ proc, want string }{
		"all vanished": {"testdata/proc", "no interface eth7, eth8"},
		"no net/dev":   {"testdata/sys", "net/dev"},
	} {
		t.Run(name, func(t *testing.T) {
			src, err := traffic.NewProcfs(test.proc, "testdata/sys", []string{"eth7", "eth8"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := src.Read(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

// The kernel answers EINVAL when asked for the speed of lo, as it does for a
// link that is down.
func TestProcfsRealLoopback(t *testing.T) {
	src, err := traffic.NewProcfs("/proc", "/sys", []string{"lo"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := src.Read()
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Devices) != 1 || r.Devices[0].SpeedMbps != 0 {
		t.Errorf("got %+v, want lo without a speed", r.Devices)
	}
}

func TestCheckCapacity(t *testing.T) {
	for name, test := range map[string]struct {
		names    []string
		capacity float64
		want     string
	}{
		"speed known":             {[]string{"eth0", "bond0"}, 0, ""},
		"speed unknown":           {[]string{"eth0", "cloud0", "wg0"}, 0, "cloud0, wg0 reports none"},
		"speed unknown, but set":  {[]string{"cloud0"}, 1000, ""},
		"interface not there":     {[]string{"eth7"}, 1000, "no interface eth7"},
		"a down or virtual link":  {[]string{"lo"}, 0, "set it to the Mbps this host may use"},
		"one line, names its key": {[]string{"lo"}, 0, "traffic.capacity_mbps: "},
	} {
		t.Run(name, func(t *testing.T) {
			src, err := traffic.NewProcfs("testdata/proc", "testdata/sys", test.names)
			if err != nil {
				t.Fatal(err)
			}
			err = traffic.CheckCapacity(src, traffic.Config{CapacityMbps: test.capacity})
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n")):
				t.Errorf("got %v, want one line with %q", err, test.want)
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	src, err := traffic.NewProcfs("/proc", "/sys", []string{"lo"})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := src.Read(); err != nil {
			b.Fatal(err)
		}
	}
}
