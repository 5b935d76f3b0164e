package traffic_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/turnwarden/turnwarden/service/traffic"
)

// A meter that goes on for another measures from the other's last reading, when that
// would have read again: never over a moment too short to tell.
func TestMeterResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := traffic.Config{Interval: 10 * time.Second, Direction: traffic.DirectionBoth}
		began := time.Now()
		read := func(int) (traffic.Reading, error) {
			return traffic.Reading{At: time.Now(), Devices: []traffic.Device{eth("eth0", 1000, time.Since(began).Seconds()*1e6, 0)}}, nil
		}
		first := traffic.NewMeter(&source{read: read}, cfg, func() {}, slog.New(slog.DiscardHandler))
		next := traffic.NewMeter(&source{read: read}, cfg, func() {}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		go func() { ended <- first.Run(ctx) }()
		time.Sleep(14 * time.Second) // read after 0, 1 and 11 s
		synctest.Wait()

		data, err := json.Marshal(first.Save())
		if err != nil {
			t.Fatal(err)
		}
		var saved traffic.Saved
		if err := json.Unmarshal(data, &saved); err != nil {
			t.Fatal(err)
		}
		next.Restore(saved)
		if got, want := next.Last(), first.Last(); !got.Ready || !got.At.Equal(want.At) || got.FreeMbps != want.FreeMbps || len(got.Devices) != 1 {
			t.Errorf("before Run: %+v, want %+v", got, want)
		}
		go func() { ended <- next.Run(ctx) }()
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if got := next.Last(); got.At.Sub(began) != 11*time.Second {
			t.Errorf("after 20 s the sample is of second %v, want 11", got.At.Sub(began))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := next.Last(); got.At.Sub(began) != 21*time.Second || got.RxBytesPerSecond != 1e6 {
			t.Errorf("after 21 s: %+v", got)
		}
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}

// Nothing to go on with is a start like any other.
func TestMeterResumeWithoutReading(t *testing.T) {
	m := traffic.NewMeter(&source{}, traffic.Config{Interval: time.Second}, func() {}, slog.New(slog.DiscardHandler))
	m.Restore(traffic.Saved{})
	if got := m.Last(); got.Ready || got.Interval != time.Second {
		t.Errorf("%+v", got)
	}
}
