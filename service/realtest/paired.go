package realtest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"
)

// An Asker opens a connection on which a URL can be asked for again and again. An answer
// ends with " }", as all that are compared here do.
type Asker func(url string) (ask func() error, hangUp func(), err error)

// LeastClient is the least that works, so that it is the server that is measured.
func LeastClient(of string) (ask func() error, hangUp func(), err error) {
	u, err := url.Parse(of)
	if err != nil {
		return nil, nil, err
	}
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		return nil, nil, err
	}
	request := []byte("GET " + u.RequestURI() + " HTTP/1.1\r\nHost: turnwarden\r\n\r\n")
	answer := make([]byte, 4096)
	return func() error {
		if _, err := c.Write(request); err != nil {
			return err
		}
		// An answer of net/http to so small a request is one write.
		if n, err := c.Read(answer); err != nil || !bytes.HasSuffix(answer[:n], []byte(" }")) {
			return fmt.Errorf("%v: %s", err, answer[:n])
		}
		return nil
	}, func() { _ = c.Close() }, nil
}

// HTTPClient is that of net/http.
func HTTPClient(of string) (ask func() error, hangUp func(), err error) {
	own := &http.Transport{}
	return func() error {
		response, err := (&http.Client{Transport: own}).Get(of)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if body, err := io.ReadAll(response.Body); err != nil || !bytes.HasSuffix(body, []byte(" }")) {
			return fmt.Errorf("%v: %s", err, body)
		}
		return nil
	}, own.CloseIdleConnections, nil
}

// Paired reports what share of the throughput of another URL one has.
func Paired(b *testing.B, as Asker, own, other string) {
	b.Helper()
	Pairs(b, "x-constant", "requests/s", "constant-requests/s",
		func() float64 { return throughput(b, as, own) }, func() float64 { return throughput(b, as, other) })
}

// Pairs measures own and other in turn and reports the medians of their ratios and of
// each, under these names. The order alternates, for what disturbs a machine disturbs both
// halves of a pair.
func Pairs(b *testing.B, ratio, ownUnit, otherUnit string, own, other func() float64) {
	b.Helper()
	const pairs = 20 // of each iteration
	var owns, others, ratios []float64
	for b.Loop() {
		for i := range pairs {
			var o, n float64
			if i%2 == 0 {
				o, n = own(), other()
			} else {
				n, o = other(), own()
			}
			owns, others, ratios = append(owns, o), append(others, n), append(ratios, o/n)
		}
	}
	b.ReportMetric(Median(ratios), ratio)
	b.ReportMetric(Median(owns), ownUnit)
	b.ReportMetric(Median(others), otherUnit)
	b.ReportMetric(0, "ns/op") // twenty pairs with their bookkeeping; nobody wants to know
}

// throughput asks on four connections at once and returns requests/s.
func throughput(b *testing.B, as Asker, of string) float64 {
	b.Helper()
	const connections, each = 4, 1000
	var all sync.WaitGroup
	begin := time.Now()
	for range connections {
		all.Go(func() {
			ask, hangUp, err := as(of)
			if err != nil {
				b.Error(err)
				return
			}
			defer hangUp()
			for range each {
				if err := ask(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	return connections * each / time.Since(begin).Seconds()
}

// Median is that of at least one value.
func Median(values []float64) float64 {
	return slices.Sorted(slices.Values(values))[len(values)/2]
}
