package traffic

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/procfs"
	"github.com/prometheus/procfs/sysfs"
)

// Source gives one reading of the interfaces that are measured.
type Source interface {
	Read() (Reading, error)
}

// Reading is what the kernel's counters said at one moment.
type Reading struct {
	At      time.Time // with its monotonic part, so that a stepped clock changes no rate
	Devices []Device  // those present, in the order they were asked for
}

// Device is one network interface within a reading.
type Device struct {
	Name      string
	RxBytes   uint64
	TxBytes   uint64
	RxDrops   uint64
	SpeedMbps float64 // 0 = none reported
}

// Procfs reads the counters from /proc/net/dev and the link speeds from
// /sys/class/net. Bonds and VLANs are interfaces like any other: the kernel
// counts their bytes and derives their speed from the links below.
type Procfs struct {
	proc  procfs.FS
	net   string // <sys>/class/net
	names []string
}

// NewProcfs reads the named interfaces below the given mounts of proc and sysfs,
// usually /proc and /sys.
func NewProcfs(proc, sys string, names []string) (*Procfs, error) {
	fs, err := procfs.NewFS(proc)
	if err != nil {
		return nil, fmt.Errorf("open proc file system: %w", err)
	}
	return &Procfs{proc: fs, net: filepath.Join(sys, "class", "net"), names: names}, nil
}

// Read leaves out interfaces that are not there and fails when none is.
func (p *Procfs) Read() (Reading, error) {
	lines, err := p.proc.NetDev()
	if err != nil {
		return Reading{}, fmt.Errorf("read interface counters: %w", err)
	}
	// The clock is read right after the counters: looking up a link speed takes
	// the kernel's rtnl lock, which a busy host may hold for a while.
	r := Reading{At: time.Now()}
	for _, name := range p.names {
		line, ok := lines[name]
		if !ok {
			continue
		}
		r.Devices = append(r.Devices, Device{
			Name:      name,
			RxBytes:   line.RxBytes,
			TxBytes:   line.TxBytes,
			RxDrops:   line.RxDropped,
			SpeedMbps: p.speed(name),
		})
	}
	if len(r.Devices) == 0 {
		return Reading{}, fmt.Errorf("read interface counters: no interface %s", strings.Join(p.names, ", "))
	}
	return r, nil
}

// speed is 0 for every way in which a driver says that it does not know: no
// attribute (tunnels), EINVAL (link down, lo), -1 (most clouds) or -1 as an
// unsigned number (old kernels). One attribute is parsed, not the whole device as
// sysfs.NetClassByIface does, so that no other attribute's error hides the speed.
func (p *Procfs) speed(name string) float64 {
	var class sysfs.NetClassIface
	err := sysfs.ParseNetClassAttribute(filepath.Join(p.net, name), "speed", &class)
	if err != nil || class.Speed == nil || *class.Speed <= 0 || *class.Speed >= math.MaxUint32 {
		return 0
	}
	return float64(*class.Speed)
}
