package traffic_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/turnwarden/turnwarden/service/traffic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source answers the n-th Read, counted from 0.
type source struct {
	n    int
	read func(n int) (traffic.Reading, error)
}

func (s *source) Read() (traffic.Reading, error) {
	s.n++
	return s.read(s.n - 1)
}

func eth(name string, mbps, rx, tx float64) traffic.Device {
	return traffic.Device{Name: name, SpeedMbps: mbps, RxBytes: uint64(rx), TxBytes: uint64(tx)}
}

// run collects the first samples of a meter, in the fake time of a bubble.
func run(t *testing.T, cfg traffic.Config, logger *slog.Logger, count int, read func(n int) (traffic.Reading, error)) []traffic.Sample {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	samples := make(chan traffic.Sample)
	var m *traffic.Meter
	m = traffic.NewMeter(&source{read: read}, cfg, func() {
		select {
		case samples <- m.Last():
		case <-ctx.Done():
		}
	}, logger)
	if s := m.Last(); s.Ready || s.Interval != cfg.Interval {
		t.Errorf("before the first reading: %+v", s)
	}
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	var got []traffic.Sample
	for range count {
		got = append(got, <-samples)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run returned %v when its context ended", err)
	}
	return got
}

func TestMeterSchedule(t *testing.T) {
	for name, test := range map[string]struct {
		interval time.Duration
		want     []time.Duration
	}{
		"the default":        {10 * time.Second, []time.Duration{0, 1 * time.Second, 11 * time.Second, 21 * time.Second}},
		"the least interval": {time.Second, []time.Duration{0, 1 * time.Second, 2 * time.Second, 3 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var at []time.Duration
				run(t, traffic.Config{Interval: test.interval}, slog.New(slog.DiscardHandler), len(test.want), func(int) (traffic.Reading, error) {
					at = append(at, time.Since(start))
					return traffic.Reading{At: time.Now(), Devices: []traffic.Device{eth("eth0", 1000, 0, 0)}}, nil
				})
				for i, want := range test.want {
					if at[i] != want {
						t.Errorf("reading %d after %v, want %v", i, at[i], want)
					}
				}
			})
		})
	}
}

// A link that carries a steady 1 MB/s is measured as that, however late a
// reading is.
func TestMeterDividesByMeasuredTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		cfg := traffic.Config{Interval: 10 * time.Second, Direction: traffic.DirectionRx}
		late := []time.Duration{0, 0, 3 * time.Second, 0, 17 * time.Second, time.Millisecond}
		samples := run(t, cfg, slog.New(slog.DiscardHandler), len(late), func(n int) (traffic.Reading, error) {
			<-time.After(late[n])
			elapsed := time.Since(start).Seconds()
			return traffic.Reading{At: time.Now(), Devices: []traffic.Device{eth("eth0", 1000, 1e6*elapsed, 2e6*elapsed)}}, nil
		})
		if first := samples[0]; first.Ready || first.FreeMbps != 0 || first.CapacityBytesPerSecond != 0 || len(first.Devices) != 1 {
			t.Errorf("the first reading announces %+v", first)
		}
		for i, s := range samples[1:] {
			if !s.Ready || math.Abs(s.RxBytesPerSecond-1e6) > 1 || math.Abs(s.TxBytesPerSecond-2e6) > 1 || math.Abs(s.FreeMbps-992) > 1e-4 {
				t.Errorf("sample %d: %+v, want 1 MB/s in, 2 MB/s out and 992 Mbps free", i+1, s)
			}
		}
	})
}

func TestMeterInDoubtKeepsItsSample(t *testing.T) {
	// Each second eth0 receives 25 MB, 200 Mbps, and sends nothing.
	busy := func(n int) traffic.Device { return eth("eth0", 1000, 25e6*float64(n), 0) }
	gone := errors.New("no interface eth0")
	type step struct {
		devices []traffic.Device
		err     error
	}
	type want struct {
		free  float64
		since int // seconds since the measurement that the sample holds
		err   string
	}
	start := []step{{devices: []traffic.Device{busy(0)}}, {devices: []traffic.Device{busy(1)}}}
	for name, test := range map[string]struct {
		capacity float64
		steps    []step
		want     []want
	}{
		"steady":                {steps: []step{{devices: []traffic.Device{busy(2)}}}, want: []want{{free: 800}}},
		"link speed changes":    {steps: []step{{devices: []traffic.Device{eth("eth0", 100, 25e6, 0)}}}, want: []want{{free: 100}}},
		"link goes down":        {steps: []step{{devices: []traffic.Device{eth("eth0", 0, 25e6, 0)}}}, want: []want{{free: 0, err: "eth0 reports none"}}},
		"link goes down, fixed": {capacity: 500, steps: []step{{devices: []traffic.Device{eth("eth0", 0, 25e6, 0)}}}, want: []want{{free: 500}}},
		"counter reset": {
			steps: []step{{devices: []traffic.Device{eth("eth0", 1000, 10, 0)}}, {devices: []traffic.Device{eth("eth0", 1000, 12.5e6+10, 0)}}},
			want:  []want{{free: 800, since: 1, err: "ran backwards"}, {free: 900}},
		},
		"counter reset, fixed capacity": {
			capacity: 1000,
			steps:    []step{{devices: []traffic.Device{eth("eth0", 0, 10, 0)}}, {devices: []traffic.Device{eth("eth0", 0, 12.5e6+10, 0)}}},
			want:     []want{{free: 800, since: 1, err: "ran backwards"}, {free: 900}},
		},
		"unreadable, then the average of both seconds": {
			steps: []step{{err: gone}, {devices: []traffic.Device{busy(3)}}},
			want:  []want{{free: 800, since: 1, err: gone.Error()}, {free: 800}},
		},
		"a second interface appears": {
			steps: []step{{devices: []traffic.Device{busy(2), eth("eth1", 1000, 5e9, 0)}}, {devices: []traffic.Device{busy(3), eth("eth1", 1000, 5e9, 0)}}},
			want:  []want{{free: 800}, {free: 1800}},
		},
		"made again": {
			steps: []step{{err: gone}, {devices: []traffic.Device{eth("eth0", 1000, 0, 0)}}, {devices: []traffic.Device{eth("eth0", 1000, 0, 0)}}},
			want:  []want{{free: 800, since: 1, err: gone.Error()}, {free: 800, since: 2, err: "ran backwards"}, {free: 1000}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				steps := append(start[:2:2], test.steps...)
				cfg := traffic.Config{Interval: time.Second, Direction: traffic.DirectionBoth, CapacityMbps: test.capacity}
				samples := run(t, cfg, slog.New(slog.DiscardHandler), len(steps), func(n int) (traffic.Reading, error) {
					return traffic.Reading{At: time.Now(), Devices: steps[n].devices}, steps[n].err
				})
				for i, want := range test.want {
					got := samples[len(start)+i]
					since := time.Duration(len(start)+i)*time.Second - got.At.Sub(begin)
					if math.Abs(got.FreeMbps-want.free) > 0.01 || since != time.Duration(want.since)*time.Second {
						t.Errorf("step %d: %v Mbps free %v ago, want %v Mbps %d s ago", i, got.FreeMbps, since, want.free, want.since)
					}
					if (got.Err == "") != (want.err == "") || !strings.Contains(got.Err, want.err) {
						t.Errorf("step %d: error %q, want %q", i, got.Err, want.err)
					}
				}
			})
		})
	}
}

func TestMeterLogsChangesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		cfg := traffic.Config{Interval: time.Second, Direction: traffic.DirectionBoth}
		samples := run(t, cfg, slog.New(slog.NewTextHandler(&log, nil)), 100, func(n int) (traffic.Reading, error) {
			r := traffic.Reading{At: time.Now(), Devices: []traffic.Device{eth("eth0", 1000, 0, 0), eth("eth1", 1000, 0, 0)}}
			switch {
			case n >= 20 && n < 60 || n >= 95:
				return traffic.Reading{}, errors.New("no interface eth0, eth1")
			case n >= 90:
				r.Devices = []traffic.Device{eth("eth0", 0, 0, 0)}
			case n >= 80:
				r.Devices = r.Devices[:1]
			}
			return r, nil
		})
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		wants := []string{
			`level=WARN msg="no new traffic sample: the last one stands for a while, then the node is unlisted" free_mbps=2000 limit=3s err="no interface eth0, eth1"`,
			`level=INFO msg="traffic is measured again" free_mbps=2000`,
			`level=WARN msg="the interfaces changed: only those present count towards traffic and capacity" before="eth0, eth1" now=eth0`,
			`level=WARN msg="an interface reports no link speed and adds nothing to the headroom" err="traffic.capacity_mbps: auto needs a link speed and eth0 reports none`,
			`level=WARN msg="no new traffic sample`,
		}
		if len(lines) != len(wants) {
			t.Fatalf("%d lines for five changes:\n%s", len(lines), log.String())
		}
		for i, want := range wants {
			if !strings.Contains(lines[i], want) {
				t.Errorf("line %d is %s, want %s", i, lines[i], want)
			}
		}
		// Each sample as it looks a moment after its reading.
		for n, want := range map[int]bool{0: false, 19: false, 21: false, 22: true, 59: true, 60: false, 90: false, 99: true} {
			now := samples[19].At.Add(time.Duration(n-19)*time.Second + time.Millisecond)
			if got := samples[n].Stale(now); got != want {
				t.Errorf("after reading %d stale is %v, want %v", n, got, want)
			}
		}
	})
}

func TestLastIsACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		read := make(chan struct{}, 1)
		m := traffic.NewMeter(&source{read: func(int) (traffic.Reading, error) {
			return traffic.Reading{At: time.Now(), Devices: []traffic.Device{eth("eth0", 1000, 0, 0)}}, nil
		}}, traffic.Config{Interval: time.Second}, func() { read <- struct{}{} }, slog.New(slog.DiscardHandler))
		go func() { _ = m.Run(ctx) }()
		<-read
		m.Last().Devices[0].Name = "changed"
		if name := m.Last().Devices[0].Name; name != "eth0" {
			t.Errorf("a reader changed the meter's own sample to %q", name)
		}
		cancel()
	})
}

// A meter that is told otherwise measures that: from one second on, however long the
// interval was that it waited for, and only what has passed since.
func TestMeterConfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cable := func(name string, mbps float64) *source {
			begin := time.Now()
			return &source{read: func(int) (traffic.Reading, error) { // 1 MB a second
				now := time.Now()
				return traffic.Reading{At: now, Devices: []traffic.Device{eth(name, mbps, 1e6*now.Sub(begin).Seconds(), 0)}}, nil
			}}
		}
		m := traffic.NewMeter(cable("eth0", 1000), traffic.Config{Direction: "both", Interval: time.Hour}, func() {}, slog.New(slog.DiscardHandler))
		go func() { _ = m.Run(t.Context()) }()
		time.Sleep(10 * time.Minute)
		m.Configure(cable("eth1", 2000), traffic.Config{Direction: "both", Interval: 10 * time.Second})
		for _, wait := range []time.Duration{time.Second, 10 * time.Second, 10 * time.Second} {
			time.Sleep(wait)
			synctest.Wait()
			s := m.Last()
			if !s.Ready || s.Interval != 10*time.Second || len(s.Devices) != 1 || s.Devices[0].Name != "eth1" || s.FreeMbps != 2000-8 || !s.At.Equal(time.Now()) {
				t.Errorf("%v later: %+v", wait, s)
			}
		}
	})
}
