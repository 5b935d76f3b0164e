package traffic

import (
	"fmt"
	"strings"
)

// Directions whose rate is held against the capacity. A link is full duplex:
// each direction has all of it.
const (
	DirectionRx   = "rx"
	DirectionTx   = "tx"
	DirectionBoth = "both" // the tighter of the two
)

// load sums what has been measured. An interface without a rate adds no capacity
// either: it would look idle.
func load(devices []DeviceSample, capacityMbps float64) (rx, tx, capacity float64) {
	for _, d := range devices {
		if d.Measured {
			rx += d.RxBytesPerSecond
			tx += d.TxBytesPerSecond
			capacity += d.CapacityBytesPerSecond
		}
	}
	if capacityMbps > 0 {
		capacity = capacityMbps * bytesPerMegabit
	}
	return rx, tx, capacity
}

// free is the headroom in Mbps (10^6 bit/s), never negative.
func free(rx, tx, capacity float64, direction string) float64 {
	used := max(rx, tx)
	switch direction {
	case DirectionRx:
		used = rx
	case DirectionTx:
		used = tx
	}
	return max(0, capacity-used) / bytesPerMegabit
}

// checkSpeed fails where the capacity is the sum of the link speeds and some
// interface reports none.
func checkSpeed(devices []DeviceSample, capacityMbps float64) error {
	if capacityMbps > 0 {
		return nil
	}
	var silent []string
	for _, d := range devices {
		if d.CapacityBytesPerSecond == 0 {
			silent = append(silent, d.Name)
		}
	}
	if len(silent) == 0 {
		return nil
	}
	return fmt.Errorf("traffic.capacity_mbps: auto needs a link speed and %s reports none (usual on virtual machines, or the link is down): set it to the Mbps this host may use, for example 1000",
		strings.Join(silent, ", "))
}

// CheckCapacity is for the preflight of a node that will announce its headroom:
// without a capacity it would announce zero for ever.
func CheckCapacity(src Source, cfg Config) error {
	r, err := src.Read()
	if err != nil {
		return err
	}
	return checkSpeed(totals(r), cfg.CapacityMbps)
}
