package e2e

import (
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/transport/admin"
)

// BenchmarkIdle reports what a registered node without calls costs: the processor
// time of turnwarden as a share of one core, and its resident memory, at the
// default intervals. One iteration takes half a minute: run it with -benchtime 1x.
func BenchmarkIdle(b *testing.B) {
	z := realtest.StartZooKeeper(b)
	h := newHost(b, options{
		zookeeper: []string{z.Addr()}, conf: secured(b, time.Now().Add(60*24*time.Hour)),
		set: map[string]string{"traffic.interval": "10s", "probe.interval": "5s"},
	})
	h.serve(b)
	stat := func(pid int) procfs.ProcStat {
		b.Helper()
		p, err := procfs.NewProc(pid)
		if err != nil {
			b.Fatal(err)
		}
		s, err := p.Stat()
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	child := h.child(b)
	for b.Loop() {
		before, childBefore := stat(h.cmd.Process.Pid), stat(child)
		began := time.Now()
		<-time.After(30 * time.Second) // the time is what is measured over
		after, childAfter := stat(h.cmd.Process.Pid), stat(child)
		b.ReportMetric(100*(after.CPUTime()-before.CPUTime())/time.Since(began).Seconds(), "%core")
		b.ReportMetric(100*(childAfter.CPUTime()-childBefore.CPUTime())/time.Since(began).Seconds(), "%core-turnserver")
		b.ReportMetric(float64(after.ResidentMemory())/(1<<20), "MiB-RSS")
	}
}

// BenchmarkRotation is one requested rotation on the real parts, from the request to
// the published credential, and its parts as the log tells them.
func BenchmarkRotation(b *testing.B) {
	for _, userdb := range []string{"turnadmin", "sqlite"} {
		b.Run(userdb, func(b *testing.B) {
			h := newHost(b, options{set: map[string]string{"credentials.userdb": userdb}})
			h.serve(b)
			client := admin.NewClient(h.socket())
			n := 0
			began := time.Now()
			for b.Loop() {
				for range 20 {
					if err := client.Rotate(b.Context(), func(admin.Step) {}); err != nil {
						b.Fatal(err)
					}
					n++
				}
			}
			b.ReportMetric(float64(time.Since(began).Milliseconds())/float64(n), "ms/rotation")
			for _, to := range []string{"pending", "verified", "active"} {
				b.ReportMetric(h.transitions(b, to).Seconds()*1000, "ms-to-"+to)
			}
		})
	}
}

// transitions is the median duration in the log of the transitions to a state, each
// measured from the beginning of its rotation, or of the publication.
func (h *host) transitions(b *testing.B, to string) time.Duration {
	b.Helper()
	var all []time.Duration
	for _, m := range regexp.MustCompile(`to=`+to+` reason=request \S+ \S+ duration=(\S+)`).FindAllStringSubmatch(h.log(b), -1) {
		if d, err := time.ParseDuration(m[1]); err == nil {
			all = append(all, d)
		}
	}
	if len(all) == 0 {
		b.Fatalf("no transition to %s in the log", to)
	}
	slices.Sort(all)
	return all[len(all)/2]
}
