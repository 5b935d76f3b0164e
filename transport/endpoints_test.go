package transport_test

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/transport"
)

func TestCredentialEndpoint(t *testing.T) {
	for name, f := range map[string]fake{"credential": good, "no credential": none} {
		t.Run(name, func(t *testing.T) {
			response, err := transport.NewEndpoints(f).Credential(context.Background(), service.CredentialRequest{})
			if got, ok := response.(service.Credential); !ok || !reflect.DeepEqual(got, f.credential) || !errors.Is(err, f.err) {
				t.Errorf("got %v, %v; want %v, %v", response, err, f.credential, f.err)
			}
		})
	}
}
