package supervisor

import (
	"time"

	"github.com/prometheus/procfs"
)

// Waited is how long the threads of a process have been ready to run, and were not, all
// together; 0 where the kernel does not say. One that is stopped, or waits for a lock, is
// not ready.
func Waited(pid int) (waited time.Duration) {
	threads, err := procfs.AllThreads(pid)
	if err != nil {
		return 0
	}
	for _, thread := range threads {
		if s, err := thread.Schedstat(); err == nil { // it may have ended
			waited += time.Duration(s.WaitingNanoseconds)
		}
	}
	return waited
}
