package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/transport/gate"
)

const (
	maxChecks    = 256                    // under way at once
	checkShare   = 8                      // of which one address may have a part
	checkName    = 200 * time.Millisecond // for a node's name to come, if one does
	checkTimeout = 2 * time.Second
)

// Agent answers HAProxy's agent-check: one line over plain TCP, such as `up 73%`, by
// which HAProxy sets the weight of a server. With agent-send "turn-1\n" the line is
// about that node, and else about the fleet.
type Agent struct{ status func() service.GatewayStatus }

// NewAgent returns the agent of a gateway.
func NewAgent(status func() service.GatewayStatus) *Agent { return &Agent{status} }

// Serve answers on l until ctx ends. HAProxy takes an agent that does not answer for no
// news: what it was told last stays in force.
func (a *Agent) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var checks sync.WaitGroup
	defer checks.Wait()
	var waiting waiting
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("serve the agent-check: %w", err)
		case err != nil: // out of file descriptors, for a while
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		done := waiting.enter(conn)
		checks.Go(func() {
			defer done()
			a.answer(conn)
		})
	}
}

// waiting are the checks under way, the oldest first. One whose name has come is over at once:
// those that are there when there are too many say nothing, and the oldest has to go, of the
// same address where that has more than its part. This host has no part, as it has none of
// connections: a burst of 32 would end a check of a load balancer here before its name is read.
type waiting struct {
	mu  sync.Mutex
	all []net.Conn
}

func (q *waiting) enter(conn net.Conn) (done func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	client := func(c net.Conn) netip.Addr { return gate.Client(address(c.RemoteAddr().String())) }
	mine, oldest := 0, -1
	who := client(conn)
	for i, c := range q.all {
		if !who.IsLoopback() && client(c) == who {
			if mine++; oldest < 0 {
				oldest = i
			}
		}
	}
	switch {
	case mine >= maxChecks/checkShare:
		q.drop(oldest)
	case len(q.all) >= maxChecks:
		q.drop(0)
	}
	q.all = append(q.all, conn)
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if i := slices.Index(q.all, conn); i >= 0 {
			q.all = slices.Delete(q.all, i, i+1)
		}
	}
}

func (q *waiting) drop(i int) {
	_ = q.all[i].Close()
	q.all = slices.Delete(q.all, i, i+1)
}

func (a *Agent) answer(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(checkTimeout))
	_ = conn.SetReadDeadline(time.Now().Add(checkName))
	name, _ := bufio.NewReader(io.LimitReader(conn, 256)).ReadString('\n')
	s := a.status()
	line := fleetCheck(s.Fleet)
	if name = strings.TrimSpace(name); name != "" {
		line = nodeCheck(s.Fleet.Find(name))
	}
	_, _ = io.WriteString(conn, line+"\n") // who asked asks again
}

// nodeCheck says what HAProxy is to do with a node.
func nodeCheck(n *service.FleetNode) string {
	switch {
	case n == nil, n.Doubt != "", n.Record.State == service.StateDown, n.Record.State == service.StateForeignServer:
		return "down"
	case n.Record.FreeTraffic <= 0:
		return "up 0%" // no new clients; those who are there stay
	}
	return weight(n.Record.FreeTraffic, n.Record.CapacityMbps)
}

// fleetCheck says what HAProxy is to do with the fleet as a whole.
func fleetCheck(s *service.Fleet) string {
	var free, capacity float64
	up := false
	for _, n := range s.Nodes {
		if n.Candidate().Up {
			up = true
			free += n.Record.FreeTraffic
			capacity += max(n.Record.CapacityMbps, n.Record.FreeTraffic)
		}
	}
	switch {
	case !up:
		return "down"
	case free <= 0:
		return "up 0%"
	}
	return weight(free, capacity)
}

// weight is never 0 where there is room, for to HAProxy that means none.
func weight(free, capacity float64) string {
	return fmt.Sprintf("up %d%%", int(math.Ceil(100*free/max(free, capacity))))
}
