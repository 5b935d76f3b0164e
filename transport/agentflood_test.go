package transport

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service"
)

// TestAgentInAFlood: of a load balancer's checks each is answered, however many connections
// say nothing.
func TestAgentInAFlood(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	agent := NewAgent(func() service.GatewayStatus { return service.GatewayStatus{Fleet: &service.Fleet{}} })
	go func() { served <- agent.Serve(ctx, l) }()
	flooded := make(chan struct{})
	full := make(chan struct{}) // as many have come as may wait
	go func() {
		defer close(flooded)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			if n == maxChecks {
				close(full)
			}
			if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
				defer c.Close()
			}
			<-tick.C
		}
	}()
	<-full
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for i := range 44 {
		<-pace.C
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintln(c, "turn-1")
		if b, err := io.ReadAll(c); err != nil || string(b) != "down\n" {
			t.Errorf("check %d: %q, %v", i, b, err)
		}
		_ = c.Close()
	}
	stop()
	<-flooded
	if err := <-served; err != nil {
		t.Error(err)
	}
}
