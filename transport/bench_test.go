package transport_test

import (
	"testing"

	"github.com/turnwarden/turnwarden/metrics"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/transporttest"
)

// BenchmarkTurncredential says what the API adds to a bare handler of net/http
// that writes the same body.
func BenchmarkTurncredential(b *testing.B) {
	transporttest.AgainstBare(b, transport.NewAPIHandler(transport.NewEndpoints(good), metrics.New().Instrument, transport.APIOptions{}), "/turncredential")
}
