package web

import (
	"testing"
	"time"
)

func TestWords(t *testing.T) {
	for mbps, want := range map[float64]string{
		0: "0 Mbit/s", .0004: "0 kbit/s", .0124: "12 kbit/s", .0994: "99 kbit/s", .0996: "0.1 Mbit/s", 1.25: "1.2 Mbit/s", 9.94: "9.9 Mbit/s", 9.96: "10 Mbit/s",
		812.4: "812 Mbit/s", 999.4: "999 Mbit/s", 999.6: "1 Gbit/s", 1000: "1 Gbit/s", 1234: "1.23 Gbit/s", 4100: "4.1 Gbit/s", 10000: "10 Gbit/s", 12345: "12.3 Gbit/s", 100000: "100 Gbit/s", 123456: "123 Gbit/s",
	} {
		if got := mbits(mbps); got != want {
			t.Errorf("mbits(%v) = %q, want %q", mbps, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 0: "0 s", 1999 * time.Millisecond: "1 s", 59 * time.Second: "59 s", time.Minute: "1 min", 61 * time.Second: "1 min 1 s",
		time.Hour: "1 h", time.Hour + 59*time.Second: "1 h", 95 * time.Minute: "1 h 35 min", 24 * time.Hour: "1 d", 50*time.Hour + time.Minute: "2 d 2 h", 400 * 24 * time.Hour: "400 d",
	} {
		if got := duration(d); got != want {
			t.Errorf("duration(%v) = %q, want %q", d, got, want)
		}
	}
}
