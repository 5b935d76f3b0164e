package traffic_test

import (
	"errors"
	"log/slog"
	"math"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/traffic"
)

const inNamespace = "TURNWARDEN_TEST_IN_NETWORK_NAMESPACE"

// TestRealInterface measures a known number of bytes on a real veth pair: what
// leaves tw0 is received by tw1. It runs itself again in a network namespace of
// its own, where nobody else's packets are counted.
func TestRealInterface(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		rerunInNamespace(t)
		return
	}
	linkUp(t)
	src, err := traffic.NewProcfs("/proc", "/sys", []string{"tw0", "tw1"})
	if err != nil {
		t.Fatal(err)
	}
	samples, times := make(chan traffic.Sample, 100), make(chan time.Time, 100)
	var m *traffic.Meter
	// The sysfs of a new namespace would have to be mounted to see the speed.
	cfg := traffic.Config{Interval: time.Second, Direction: traffic.DirectionRx, CapacityMbps: 10_000}
	m = traffic.NewMeter(clocked{src, times}, cfg, func() { samples <- m.Last() }, slog.New(slog.DiscardHandler))
	go func() { _ = m.Run(t.Context()) }()

	<-samples // From here on every byte is measured.
	last := <-times
	sent := sendFrames(t, "tw0", 400)
	done := time.Now()
	if sent == 0 {
		t.Fatal("every frame was dropped")
	}

	// The rates times the time that each stands for add up to what was sent.
	var tx, rx float64
	for last.Before(done) {
		s, at := <-samples, <-times
		elapsed := at.Sub(last).Seconds()
		last = at
		tx += s.Devices[0].TxBytesPerSecond * elapsed
		rx += s.Devices[1].RxBytesPerSecond * elapsed
		if want := cfg.CapacityMbps - s.RxBytesPerSecond*8/1e6; math.Abs(s.FreeMbps-want) > 1e-6 {
			t.Errorf("%v Mbps free, want %v", s.FreeMbps, want)
		}
	}
	t.Logf("sent %d bytes, measured %.0f out, %.0f in", sent, tx, rx)
	for direction, measured := range map[string]float64{"out of tw0": tx, "into tw1": rx} {
		if math.Abs(measured-float64(sent)) > 0.02*float64(sent) {
			t.Errorf("measured %.0f bytes %s, %d were sent", measured, direction, sent)
		}
	}
}

// TestKnownGenerator measures a steady load at the default interval: each rate is what
// the generator has sent between the two readings, within 2 %.
func TestKnownGenerator(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		t.Parallel()
		rerunInNamespace(t)
		return
	}
	linkUp(t)
	src, err := traffic.NewProcfs("/proc", "/sys", []string{"tw0", "tw1"})
	if err != nil {
		t.Fatal(err)
	}
	type moment struct {
		at   time.Time
		sent int64
	}
	var sent atomic.Int64
	moments := make(chan moment, 100)
	var m *traffic.Meter
	cfg := traffic.Config{Interval: 10 * time.Second, Direction: traffic.DirectionBoth, CapacityMbps: 1000}
	m = traffic.NewMeter(src, cfg, func() { moments <- moment{time.Now(), sent.Load()} }, slog.New(slog.DiscardHandler))
	go func() { _ = m.Run(t.Context()) }()
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	var before moment
	// The second reading comes a second after the first, and then every ten seconds.
	for reading := 0; reading < 5; {
		var after moment
		select {
		case <-pace.C:
			sent.Add(int64(sendFrames(t, "tw0", 10)))
			continue
		case after = <-moments:
		}
		if reading++; reading > 3 {
			s, elapsed := m.Last(), after.at.Sub(before.at).Seconds()
			want := float64(after.sent-before.sent) / elapsed
			t.Logf("%.1f s: %.0f bytes a second sent, %.0f measured out, %.0f in", elapsed, want, s.Devices[0].TxBytesPerSecond, s.Devices[1].RxBytesPerSecond)
			for direction, got := range map[string]float64{"out": s.Devices[0].TxBytesPerSecond, "in": s.Devices[1].RxBytesPerSecond} {
				if math.Abs(got-want) > 0.02*want {
					t.Errorf("%s: measured %.0f bytes a second, %.0f were sent", direction, got, want)
				}
			}
		}
		before = after
	}
}

// linkUp makes the pair tw0 and tw1 and waits until it carries frames.
func linkUp(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{
		{"link", "add", "tw0", "type", "veth", "peer", "name", "tw1"},
		{"link", "set", "tw0", "addrgenmode", "none", "mtu", "9000", "up"},
		{"link", "set", "tw1", "addrgenmode", "none", "mtu", "9000", "up"},
	} {
		if out, err := exec.CommandContext(t.Context(), "ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	// The kernel lets packets through a while after it called the link up.
	realtest.Eventually(t, 10*time.Second, func() error {
		if sendFrames(t, "tw0", 1) == 0 {
			return errors.New("tw0 drops what it is given")
		}
		return nil
	})
}

func rerunInNamespace(t *testing.T) {
	t.Helper()
	realtest.Require(t, "ip")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		realtest.Missing(t, "only root may make a network namespace")
	}
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// clocked tells when each reading was made.
type clocked struct {
	traffic.Source
	times chan<- time.Time
}

func (c clocked) Read() (traffic.Reading, error) {
	r, err := c.Source.Read()
	c.times <- r.At
	return r, err
}

// sendFrames writes whole Ethernet frames, of a type reserved for experiments
// (IEEE 802, 0x88b5), so that no protocol adds a byte, and returns the number of
// bytes that left. Few and large ones fit the queue of 1000 packets that all veth
// and lo of a CPU share (net.core.netdev_max_backlog); what a busy host drops
// there all the same, the kernel counts apart.
func sendFrames(t *testing.T, device string, count int) int {
	t.Helper()
	nic, err := net.InterfaceByName(device)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	frame := make([]byte, 9014)
	for i := range 12 {
		frame[i] = 0xff
	}
	frame[12], frame[13] = 0x88, 0xb5
	before := dropped(t, device)
	for range count {
		if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: nic.Index}); err != nil {
			t.Fatal(err)
		}
	}
	return (count - dropped(t, device) + before) * len(frame)
}

func dropped(t *testing.T, device string) int {
	t.Helper()
	fs, err := procfs.NewFS("/proc")
	if err != nil {
		t.Fatal(err)
	}
	lines, err := fs.NetDev()
	if err != nil {
		t.Fatal(err)
	}
	return int(lines[device].TxDropped)
}
