package node

import (
	"sync"
	"time"
)

// maxFresh bounds the memory of a flood of requests during a revocation.
const maxFresh = 1 << 18

// fresh remembers the usernames that were made from a shared secret while sessions of
// a revoked one are swept. Whoever knows that secret can claim any name, so a call is
// good only if its name was handed out since, from another generation.
type fresh struct {
	mu    sync.Mutex
	until time.Time
	names map[string]uint64 // the generation that each was made from
}

// begin remembers what is made from now on, until then.
func (f *fresh) begin(until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.names == nil {
		f.names = map[string]uint64{}
	}
	f.until = until
}

// note remembers a name, if that is asked for now.
func (f *fresh) note(username string, generation uint64, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.names == nil:
	case now.After(f.until):
		f.names = nil
	case len(f.names) < maxFresh:
		// A later use of the same name for a proof of an older secret takes nothing back.
		f.names[username] = max(f.names[username], generation)
	}
}

// since says whether the name was made from that generation or a later one.
func (f *fresh) since(username string, generation uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	made, ok := f.names[username]
	return ok && made >= generation
}
