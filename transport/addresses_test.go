package transport

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// TestAddressesAreNotForgotten: who has used up its rate is known however many addresses come
// after it, until it would be allowed as much as a new one.
func TestAddressesAreNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &addressLimits{perSecond: 1}
		wild := netip.MustParseAddr("192.0.2.1")
		if !a.of(wild).Allow() || a.of(wild).Allow() {
			t.Fatal("the rate is not 1/s")
		}
		flood := func() {
			addr := netip.MustParseAddr("10.0.0.0")
			for range 2 * maxAddresses {
				addr = addr.Next()
				_ = a.of(addr).Allow()
			}
		}
		flood()
		if a.of(wild).Allow() || len(a.known) != maxAddresses {
			t.Errorf("forgotten in a flood; %d are known", len(a.known))
		}
		time.Sleep(2 * time.Second)
		flood()
		if _, known := a.known[wild]; known || len(a.known) != maxAddresses {
			t.Errorf("%d are known, the idlest among them", len(a.known))
		}
	})
}
