package web

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/turnwarden/turnwarden/transport/web/page"
)

// mbits is a throughput in the words of people who buy links.
func mbits(mbps float64) string {
	switch {
	case mbps >= 999.5: // in three digits, as a link's speed is written
		digits := max(0, 2-int(math.Log10(max(mbps, 1000)/1000)))
		text := strconv.FormatFloat(mbps/1000, 'f', digits, 64)
		if digits > 0 {
			text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
		}
		return text + " Gbit/s"
	case mbps >= 9.95 || mbps == 0:
		return strconv.FormatFloat(mbps, 'f', 0, 64) + " Mbit/s"
	case mbps >= .0995:
		return strconv.FormatFloat(mbps, 'f', 1, 64) + " Mbit/s"
	default:
		return strconv.FormatFloat(mbps*1000, 'f', 0, 64) + " kbit/s"
	}
}

// duration is a length of time in its two largest units, whole seconds at least.
func duration(d time.Duration) string {
	d = max(0, d).Truncate(time.Second)
	day := 24 * time.Hour
	for _, u := range []struct {
		large, small         time.Duration
		largeName, smallName string
	}{{day, time.Hour, "d", "h"}, {time.Hour, time.Minute, "h", "min"}, {time.Minute, time.Second, "min", "s"}} {
		if d < u.large {
			continue
		}
		text := fmt.Sprintf("%d %s", d/u.large, u.largeName)
		if rest := d % u.large / u.small; rest > 0 {
			text += fmt.Sprintf(" %d %s", rest, u.smallName)
		}
		return text
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

func since(now, then time.Time) page.Cell {
	return page.Cell{Text: duration(now.Sub(then)), At: then}
}

func ago(now, then time.Time) page.Cell {
	return page.Cell{Text: duration(now.Sub(then)) + " ago", At: then}
}

func until(now, then time.Time) page.Cell {
	return page.Cell{Text: duration(then.Sub(now)), At: then}
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func fact(name, value string) page.Fact {
	return page.Fact{Name: name, Cell: page.Cell{Text: value}}
}
