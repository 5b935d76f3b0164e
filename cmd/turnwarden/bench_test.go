package main

import (
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// BenchmarkIdle reports what a registered node without calls costs: the processor
// time of turnwarden as a share of one core, and its resident memory, at the
// default intervals. One iteration takes half a minute: run it with -benchtime 1x.
func BenchmarkIdle(b *testing.B) {
	z := realtest.StartZooKeeper(b)
	h := newHost(b, options{zookeeper: []string{z.Addr()}, set: map[string]string{"traffic.interval": "10s", "probe.interval": "5s"}})
	h.serve(b)
	p, err := procfs.NewProc(h.cmd.Process.Pid)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		before, err := p.Stat()
		if err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		<-time.After(30 * time.Second) // the time is what is measured over
		after, err := p.Stat()
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(100*(after.CPUTime()-before.CPUTime())/time.Since(began).Seconds(), "%core")
		b.ReportMetric(float64(after.ResidentMemory())/(1<<20), "MiB-RSS")
	}
}
