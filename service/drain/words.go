package drain

import (
	"fmt"
	"strings"
)

// counted is a number of things, in words.
func counted(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

// and joins names, in words.
func and(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// throughput is one in words.
func throughput(bytesPerSecond float64) string {
	units := []string{"B/s", "kB/s", "MB/s", "GB/s"}
	for bytesPerSecond >= 999.5 && len(units) > 1 {
		bytesPerSecond /= 1000
		units = units[1:]
	}
	return fmt.Sprintf("%.3g %s", bytesPerSecond, units[0])
}
