package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/procfs"
)

var (
	processCPU     = desc("child_process_cpu_seconds_total", "Processor time that the TURN server has used.")
	processRSS     = desc("child_process_resident_memory_bytes", "Resident memory of the TURN server.")
	processVirtual = desc("child_process_virtual_memory_bytes", "Virtual memory of the TURN server.")
	processStart   = desc("child_process_start_time_seconds", "Unix time at which the TURN server was started.")
	processThreads = desc("child_process_threads", "Number of operating system threads of the TURN server.")
	processFDs     = desc("child_process_open_fds", "File descriptors that the TURN server has open.")
	processMaxFDs  = desc("child_process_max_fds", "Most file descriptors that the TURN server may open.")
)

// process writes what the kernel says of the child. client_golang's own process
// collector would add two network series that belong to the network namespace,
// not to the process. A child that has just died has no series.
func (e emitter) process(pid int, started time.Time) {
	if pid == 0 {
		return
	}
	p, err := procfs.NewProc(pid)
	if err != nil {
		return
	}
	e.time(processStart, started)
	if stat, err := p.Stat(); err == nil {
		e <- prometheus.MustNewConstMetric(processCPU, prometheus.CounterValue, stat.CPUTime())
		e.gauge(processRSS, float64(stat.ResidentMemory()))
		e.gauge(processVirtual, float64(stat.VirtualMemory()))
		e.gauge(processThreads, float64(stat.NumThreads))
	}
	if n, err := p.FileDescriptorsLen(); err == nil {
		e.gauge(processFDs, float64(n))
	}
	if limits, err := p.Limits(); err == nil {
		e.gauge(processMaxFDs, float64(limits.OpenFiles))
	}
}
