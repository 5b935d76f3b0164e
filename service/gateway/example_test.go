package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/fleet"
	"github.com/turnwarden/turnwarden/service/gateway"
	"github.com/turnwarden/turnwarden/transport"
)

// A signalling server that is written in Go needs no gateway: it follows the fleet
// itself, with what turnwarden gateway is made of.
func ExampleNew() {
	nodes := transport.NewNodeClient(transport.NodeAccess{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.20.0.0/16")}})
	turn := gateway.New(gateway.Config{
		Fleet: fleet.Config{Directory: directory.Config{Servers: []string{"127.0.0.1:2181"}}},
		Rules: fleet.Rules{Region: "eu", ReserveMbps: 10},
	}, nodes)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- turn.Run(ctx) }()

	// For each client that is about to place a call:
	c, err := turn.Credential(ctx, service.CredentialRequest{UserID: "alice"})
	switch {
	case errors.Is(err, service.ErrNoCredential):
		fmt.Println("no server now, try again in a second")
	case err == nil:
		fmt.Println(c.URIs, c.Username, c.Password.Reveal(), c.Expires)
	}

	stop()
	fmt.Println(<-ended)
	// Output:
	// no server now, try again in a second
	// <nil>
}
