package traffic

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/turnwarden/turnwarden/service/directory"
)

func TestRates(t *testing.T) {
	start := time.Now()
	eth0 := Device{Name: "eth0", RxBytes: 1000, TxBytes: 2000, SpeedMbps: 1000}
	wg0 := Device{Name: "wg0", RxBytes: 1000, TxBytes: 2000}
	plus := func(d Device, rx, tx int64) Device {
		d.RxBytes += uint64(rx)
		d.TxBytes += uint64(tx)
		return d
	}
	type rate struct {
		name   string
		rx, tx float64
		known  bool
	}
	for name, test := range map[string]struct {
		prev, next []Device
		elapsed    time.Duration
		capacity   float64
		want       []rate
		err        string
	}{
		"idle":             {prev: []Device{eth0}, next: []Device{eth0}, elapsed: time.Second, want: []rate{{"eth0", 0, 0, true}}},
		"measured elapsed": {prev: []Device{eth0}, next: []Device{plus(eth0, 12500, 25000)}, elapsed: 12500 * time.Millisecond, want: []rate{{"eth0", 1000, 2000, true}}},
		"two":              {prev: []Device{eth0, wg0}, next: []Device{plus(wg0, 10, 20), plus(eth0, 30, 40)}, elapsed: 10 * time.Second, want: []rate{{"wg0", 1, 2, true}, {"eth0", 3, 4, true}}},
		"vanished":         {prev: []Device{eth0, wg0}, next: []Device{plus(eth0, 30, 40)}, elapsed: 10 * time.Second, want: []rate{{"eth0", 3, 4, true}}},
		"appeared":         {prev: []Device{eth0}, next: []Device{plus(eth0, 30, 40), wg0}, elapsed: 10 * time.Second, want: []rate{{"eth0", 3, 4, true}, {"wg0", 0, 0, false}}},
		"replaced":         {prev: []Device{eth0}, next: []Device{wg0}, elapsed: time.Second, err: "wg0 appeared only now"},
		"receive reset":    {prev: []Device{eth0}, next: []Device{plus(eth0, -1, 40)}, elapsed: time.Second, err: "a counter of eth0 ran backwards"},
		"transmit reset":   {prev: []Device{eth0}, next: []Device{plus(eth0, 40, -1)}, elapsed: time.Second, err: "a counter of eth0 ran backwards"},
		"32-bit wrap": {
			prev: []Device{{Name: "eth0", RxBytes: math.MaxUint32 - 10}}, next: []Device{{Name: "eth0", RxBytes: 10}},
			elapsed: time.Second, err: "ran backwards",
		},
		"no time passed":                {prev: []Device{eth0}, next: []Device{plus(eth0, 30, 40)}, elapsed: 0, err: "0s apart"},
		"clock of a reading ran back":   {prev: []Device{eth0}, next: []Device{plus(eth0, 30, 40)}, elapsed: -time.Second, err: "-1s apart"},
		"jump on a known link":          {prev: []Device{eth0}, next: []Device{plus(eth0, 1<<40, 40)}, elapsed: time.Second, want: []rate{{"eth0", 125e6, 40, true}}},
		"jump on an unknown link":       {prev: []Device{wg0}, next: []Device{plus(wg0, 1<<60, 40)}, elapsed: time.Second, want: []rate{{"wg0", 100e9, 40, true}}},
		"link faster than it says":      {prev: []Device{eth0}, next: []Device{plus(eth0, 200e6, 40)}, elapsed: time.Second, capacity: 2000, want: []rate{{"eth0", 200e6, 40, true}}},
		"more than the operator allows": {prev: []Device{wg0}, next: []Device{plus(wg0, 200e6, 40)}, elapsed: time.Second, capacity: 100, want: []rate{{"wg0", 200e6, 40, true}}},
	} {
		t.Run(name, func(t *testing.T) {
			devices, err := rates(Reading{start, test.prev}, Reading{start.Add(test.elapsed), test.next}, test.capacity)
			var got []rate
			for _, d := range devices {
				got = append(got, rate{d.Name, d.RxBytesPerSecond, d.TxBytesPerSecond, d.Measured})
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(rate{})); diff != "" {
				t.Error(diff)
			}
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("got error %v, want %q", err, test.err)
			}
		})
	}
}

func TestHeadroom(t *testing.T) {
	measured := []DeviceSample{
		{Name: "eth0", Measured: true, RxBytesPerSecond: 25e6, TxBytesPerSecond: 50e6, CapacityBytesPerSecond: 125e6},
		{Name: "eth1", Measured: true, RxBytesPerSecond: 25e6, TxBytesPerSecond: 50e6, CapacityBytesPerSecond: 125e6},
		{Name: "new0", CapacityBytesPerSecond: 125e6},
	}
	for name, test := range map[string]struct {
		direction string
		capacity  float64
		want      float64
	}{
		"receive":                     {DirectionRx, 0, 1600},
		"transmit":                    {DirectionTx, 0, 1200},
		"both is the tighter":         {DirectionBoth, 0, 1200},
		"fixed capacity":              {DirectionRx, 1000, 600},
		"fixed above the link":        {DirectionTx, 5000, 4200},
		"never negative":              {DirectionBoth, 799, 0},
		"exactly full":                {DirectionTx, 800, 0},
		"one bit short of being full": {DirectionTx, 800.000001, 0.000001},
	} {
		t.Run(name, func(t *testing.T) {
			rx, tx, capacity := load(measured, test.capacity)
			if got := free(rx, tx, capacity, test.direction); math.Abs(got-test.want) > 1e-9 {
				t.Errorf("%v Mbps free, want %v", got, test.want)
			}
		})
	}
}

// FuzzRates plays any sequence of counters, speeds and pauses and holds what is
// announced against what may never be announced.
func FuzzRates(f *testing.F) {
	step := func(elapsed time.Duration, rx, tx uint64, speed uint32) []byte {
		b := binary.BigEndian.AppendUint64(nil, uint64(elapsed))
		b = binary.BigEndian.AppendUint64(b, rx)
		b = binary.BigEndian.AppendUint64(b, tx)
		return binary.BigEndian.AppendUint32(b, speed)
	}
	const steps = 28
	f.Add([]byte{}, 0.0)
	f.Add(append(step(time.Second, 100, 100, 1000), step(time.Second, 50, 200, 1000)...), 0.0)
	f.Add(append(step(0, math.MaxUint32, 1, 0), step(0, 1, math.MaxUint64, 0)...), 100.0)
	f.Add(append(step(1, math.MaxUint64, 1, 10), step(math.MaxInt64, 0, 0, math.MaxUint32)...), 0.5)
	f.Fuzz(func(t *testing.T, data []byte, capacity float64) {
		if !(capacity >= 0 && capacity <= 1e6) {
			t.Skip("refused by the configuration")
		}
		prev := Reading{At: time.Now(), Devices: []Device{{Name: "eth0"}}}
		for ; len(data) >= steps; data = data[steps:] {
			next := Reading{
				At: prev.At.Add(time.Duration(binary.BigEndian.Uint64(data))),
				Devices: []Device{{
					Name:      "eth0",
					RxBytes:   binary.BigEndian.Uint64(data[8:]),
					TxBytes:   binary.BigEndian.Uint64(data[16:]),
					SpeedMbps: float64(binary.BigEndian.Uint32(data[24:])),
				}},
			}
			devices, err := rates(prev, next, capacity)
			last := prev
			prev = next
			if err != nil {
				continue
			}
			d, speed := devices[0], next.Devices[0].SpeedMbps
			most := directory.FastestMbps * bytesPerMegabit
			if speed > 0 {
				most = max(speed, capacity) * bytesPerMegabit
			}
			for _, rate := range []float64{d.RxBytesPerSecond, d.TxBytesPerSecond} {
				if !(rate >= 0 && rate <= most) {
					t.Fatalf("%v bytes/s on a link of %v Mbps, from %+v and %+v", rate, speed, last, next)
				}
			}
			rx, tx, room := load(devices, capacity)
			for _, direction := range []string{DirectionRx, DirectionTx, DirectionBoth} {
				if mbps := free(rx, tx, room, direction); !(mbps >= 0 && mbps <= max(speed, capacity)) {
					t.Fatalf("%v Mbps free of %v or %v, from %+v and %+v", mbps, speed, capacity, last, next)
				}
			}
		}
	})
}
