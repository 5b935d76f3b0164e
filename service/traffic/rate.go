package traffic

import (
	"fmt"
	"strings"

	"github.com/turnwarden/turnwarden/service/directory"
)

const bytesPerMegabit = 1e6 / 8

// DeviceSample is one interface's part of a sample.
type DeviceSample struct {
	Name                   string
	RxBytes                uint64
	TxBytes                uint64
	RxDrops                uint64
	Measured               bool // in both readings, so that the rates below mean something
	RxBytesPerSecond       float64
	TxBytesPerSecond       float64
	CapacityBytesPerSecond float64 // the link speed; 0 = none reported
}

// totals is a reading without rates: all that a first one can tell.
func totals(r Reading) []DeviceSample {
	devices := make([]DeviceSample, len(r.Devices))
	for i, d := range r.Devices {
		devices[i] = DeviceSample{
			Name:                   d.Name,
			RxBytes:                d.RxBytes,
			TxBytes:                d.TxBytes,
			RxDrops:                d.RxDrops,
			CapacityBytesPerSecond: d.SpeedMbps * bytesPerMegabit,
		}
	}
	return devices
}

// rates measures what happened between two readings. An interface that is only
// in the next one is not Measured yet, one that is gone is left out. It fails,
// for the caller to wait for another reading, where nothing can be known: a
// counter ran backwards because the interface was made again, or because 32 bits
// wrapped, and the two look the same.
//
// No rate exceeds what the interface can carry, by its own word or, as tun says
// 10 Mbps and is faster, by the operator's. A counter that jumped (a driver's
// refresh after a pause, or its bug) thus reads as a full link for one interval,
// the harmless direction, while a host that is truly above its capacity_mbps
// keeps being seen as full.
func rates(prev, next Reading, capacityMbps float64) ([]DeviceSample, error) {
	elapsed := next.At.Sub(prev.At)
	if elapsed <= 0 {
		return nil, fmt.Errorf("measure rates: two readings %v apart", elapsed)
	}
	before := make(map[string]Device, len(prev.Devices))
	for _, d := range prev.Devices {
		before[d.Name] = d
	}
	devices := totals(next)
	measured := false
	for i := range devices {
		now := &devices[i]
		was, ok := before[now.Name]
		if !ok {
			continue
		}
		if now.RxBytes < was.RxBytes || now.TxBytes < was.TxBytes {
			return nil, fmt.Errorf("measure rates: a counter of %s ran backwards", now.Name)
		}
		ceiling := directory.FastestMbps * bytesPerMegabit // for interfaces that do not say how fast they are
		if now.CapacityBytesPerSecond > 0 {
			ceiling = max(now.CapacityBytesPerSecond, capacityMbps*bytesPerMegabit)
		}
		now.Measured, measured = true, true
		now.RxBytesPerSecond = min(ceiling, float64(now.RxBytes-was.RxBytes)/elapsed.Seconds())
		now.TxBytesPerSecond = min(ceiling, float64(now.TxBytes-was.TxBytes)/elapsed.Seconds())
	}
	if !measured {
		return nil, fmt.Errorf("measure rates: %s appeared only now", deviceNames(devices))
	}
	return devices, nil
}

func deviceNames(devices []DeviceSample) string {
	names := make([]string, len(devices))
	for i, d := range devices {
		names[i] = d.Name
	}
	return strings.Join(names, ", ")
}
