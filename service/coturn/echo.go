package coturn

import (
	"bytes"
	"hash/maphash"
)

// maxEchoes is how far the second of two equal lines may be behind the first: a banner of
// several lines comes as a whole before it comes again, and threads write in between.
const maxEchoes = 16

// Once hands the lines of turnserver's log on to next, each once: coturn before 4.6.1
// writes all of them twice with log-file=stdout, whatever no-stdout-log says. It is for
// one goroutine.
func Once(v Version, next func(line []byte)) func(line []byte) {
	if !v.LogsTwice() {
		return next
	}
	e := echoes{seed: maphash.MakeSeed()}
	return func(line []byte) {
		if !e.second(line) {
			next(line)
		}
	}
}

// echoes are the lines whose second is still to come.
type echoes struct {
	seed    maphash.Seed
	waiting [maxEchoes]uint64 // 0 is none
	next    int
}

// second reports whether a line repeats an earlier one that nothing has repeated yet. Times
// are not compared: the second line may be of the next second.
func (e *echoes) second(line []byte) bool {
	message, _, _ := cutPrefix(bytes.TrimRight(line, "\r\n"))
	sum := maphash.Bytes(e.seed, message) | 1
	for i, first := range e.waiting {
		if first == sum {
			e.waiting[i] = 0
			return true
		}
	}
	e.waiting[e.next] = sum
	e.next = (e.next + 1) % maxEchoes
	return false
}
