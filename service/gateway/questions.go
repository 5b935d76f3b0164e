package gateway

import (
	"context"
	"errors"
	"sync"
	"syscall"
)

// How many questions may be under way: a node answers from memory, within milliseconds, and
// one that hangs takes no more than these from the others.
const (
	maxPerNode   = 64
	maxQuestions = 256
)

var errBusy = errors.New("as many questions as may be are under way")

// questions counts those that are under way.
type questions struct {
	mu    sync.Mutex
	all   int
	nodes map[string]*asking
}

// asking are the questions to one node.
type asking struct {
	running int
	witness bool // one goes on although nobody waits for it
}

// begin admits a question, or does not. The context it returns lives as long as it may last:
// until nobody waits for it, but for one question of each node, or none that hangs would be
// found out where another is asked soon. end has to be called.
func (q *questions) begin(ctx context.Context, node string) (question context.Context, end func(), err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.nodes[node]
	if a == nil {
		a = &asking{}
	}
	if q.all >= maxQuestions || a.running >= maxPerNode {
		return nil, nil, errBusy
	}
	if q.nodes == nil {
		q.nodes = make(map[string]*asking)
	}
	q.nodes[node] = a
	q.all++
	a.running++
	question, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	testifies := false
	stop := context.AfterFunc(ctx, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if a.witness {
			cancel()
			return
		}
		a.witness, testifies = true, true
	})
	return question, func() {
		stop()
		cancel()
		q.mu.Lock()
		defer q.mu.Unlock()
		if testifies {
			a.witness = false
		}
		q.all--
		if a.running--; a.running == 0 {
			delete(q.nodes, node)
		}
	}, nil
}

// ours says whether a question failed for reasons that are none of the node's: nobody
// waited for it, or this host has no descriptor or port left.
func ours(err error) bool {
	for _, e := range []error{context.Canceled, errBusy, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
