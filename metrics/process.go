package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/procfs"

	"github.com/turnwarden/turnwarden/service"
)

var (
	processCPU     = desc("turnserver_process_cpu_seconds_total", "Processor time that the TURN server has used.")
	processRSS     = desc("turnserver_process_resident_memory_bytes", "Resident memory of the TURN server.")
	processVirtual = desc("turnserver_process_virtual_memory_bytes", "Virtual memory of the TURN server.")
	processStart   = desc("turnserver_process_start_time_seconds", "Unix time at which the TURN server was started.")
	processThreads = desc("turnserver_process_threads", "Number of operating system threads of the TURN server.")
	processFDs     = desc("turnserver_process_open_fds", "File descriptors that the TURN server had open at the last reading of its sockets.")
	relayPorts     = desc("relay_ports", "Relay ports that the TURN server has taken, at the last reading of its sockets. The probe has one for each transport now and then.")
	relayLimit     = desc("relay_ports_limit", "Relay ports that turnserver.conf gives.")
	bufferErrors   = desc("turnserver_udp_receive_buffer_errors_total", "Datagrams that the kernel dropped because a socket of the TURN server had no room for them.")
	processMaxFDs  = desc("turnserver_process_max_fds", "Most file descriptors that the TURN server may open.")
)

// process writes what the kernel says of the child. client_golang's own process
// collector would add two network series that belong to the network namespace,
// not to the process. A child that has just died has no series.
func (e emitter) process(pid int, started time.Time, files service.SocketSample) {
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
	if files.PID == pid {
		e.gauge(processFDs, float64(files.OpenFiles))
	}
	if limits, err := p.Limits(); err == nil {
		e.gauge(processMaxFDs, float64(limits.OpenFiles))
	}
}

// sockets writes what the last reading of the child's files saw: it takes too long for a
// scrape where there are thousands of them.
func (e emitter) sockets(s service.Status) {
	e.gauge(relayPorts, float64(s.Sockets.RelayPorts))
	e.gauge(relayLimit, float64(s.RelayPorts))
	e.counter(bufferErrors, s.Sockets.Drops)
}
