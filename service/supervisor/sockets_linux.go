package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/procfs"
)

// SocketSample is what the kernel says of the child's files and UDP sockets.
type SocketSample struct {
	At         time.Time // zero while nothing is known
	PID        int       // of the child that was read, 0 without one
	OpenFiles  int       // descriptors of all kinds
	RelayPorts int       // sockets on ports of the relay range
	// Drops are the datagrams that found the receive buffer of their socket full,
	// since we began. The kernel counts by socket: what it dropped at one between
	// the last reading and its end is lost.
	Drops uint64
}

// SocketMeter reads them at an interval, because with 10,000 relayed calls that takes
// longer than a scrape should.
type SocketMeter struct {
	pid     func() int
	logger  *slog.Logger
	ports   atomic.Pointer[portRange]
	changed chan time.Duration // the interval has

	drops map[uint64]uint64 // by inode, as they were last read; Run's alone

	mu   sync.Mutex
	last SocketSample
}

// portRange is what the child relays on, from the first port to the last.
type portRange struct{ low, high uint16 }

// NewSocketMeter returns a meter that begins with Run. pid is the running child's, 0
// without one; low and high are the first and the last port that it relays on.
func NewSocketMeter(pid func() int, low, high uint16, interval time.Duration, logger *slog.Logger) *SocketMeter {
	m := &SocketMeter{pid: pid, logger: logger, changed: make(chan time.Duration, 1)}
	m.Configure(low, high, interval)
	return m
}

// Configure changes the ports that count, and how often they are read.
func (m *SocketMeter) Configure(low, high uint16, interval time.Duration) {
	m.ports.Store(&portRange{low, high})
	select {
	case <-m.changed: // nobody has seen that one
	default:
	}
	m.changed <- interval
}

// Last is the sample of the last reading that succeeded.
func (m *SocketMeter) Last() SocketSample {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last
}

// Run reads until ctx ends.
func (m *SocketMeter) Run(ctx context.Context) error {
	tick := time.NewTicker(<-m.changed)
	defer tick.Stop()
	for failing := false; ; {
		err := m.read()
		switch {
		case err != nil && !failing:
			m.logger.Warn("relay ports and dropped datagrams of turnserver are not measured", "err", err)
		case err == nil && failing:
			m.logger.Info("relay ports and dropped datagrams of turnserver are measured again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case interval := <-m.changed:
			tick.Reset(interval)
		case <-tick.C:
		}
	}
}

func (m *SocketMeter) read() error {
	pid := m.pid()
	ports := m.ports.Load()
	now, drops, err := readSockets(pid, ports.low, ports.high)
	if errors.Is(err, fs.ErrNotExist) || pid != m.pid() {
		return nil // it ended meanwhile
	}
	if err != nil {
		return err
	}
	var more uint64
	for inode, n := range drops {
		more += n - min(n, m.drops[inode])
	}
	m.drops = drops
	m.mu.Lock()
	defer m.mu.Unlock()
	now.Drops = m.last.Drops + more
	m.last = now
	return nil
}

// readSockets reads those of pid, and what each, by its inode, has dropped.
func readSockets(pid int, low, high uint16) (now SocketSample, drops map[uint64]uint64, err error) {
	now.At, now.PID = time.Now(), pid
	if pid == 0 {
		return now, nil, nil
	}
	own, open, err := descriptors(pid)
	if err != nil {
		return now, nil, fmt.Errorf("read the sockets of pid %d: %w", pid, err)
	}
	now.OpenFiles = open
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return now, nil, err
	}
	drops = map[uint64]uint64{}
	for _, read := range []func() (procfs.NetUDP, error){proc.NetUDP, proc.NetUDP6} {
		lines, err := read()
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return now, nil, fmt.Errorf("read the list of udp sockets: %w", err)
		}
		for _, l := range lines {
			if !own[l.Inode] {
				continue
			}
			drops[l.Inode] = *l.Drops
			if uint64(low) <= l.LocalPort && l.LocalPort <= uint64(high) {
				now.RelayPorts++
			}
		}
	}
	return now, drops, nil
}
