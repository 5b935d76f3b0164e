package gate

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
)

// Lasting is a handler that heeds its context, takes long, and is to be answered all the
// same when the gate is parked.
type Lasting struct {
	Next    http.Handler
	running atomic.Int64
}

func (l *Lasting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.running.Add(1)
	defer l.running.Add(-1)
	l.Next.ServeHTTP(w, r.WithContext(context.WithoutCancel(r.Context())))
}

// Wait returns when nobody is being answered, or could have been for long enough.
func (l *Lasting) Wait(ctx context.Context, limit time.Duration) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); l.running.Load() > 0 && time.Since(began) < limit && ctx.Err() == nil; {
		<-tick.C
	}
}
