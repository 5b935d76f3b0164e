package probe

import (
	"crypto/x509"
	"fmt"
	"time"
)

// verify says why a client would not trust these certificates. Without a host
// only their dates are looked at.
func verify(chain []*x509.Certificate, host string, now time.Time) error {
	for _, c := range chain {
		switch {
		case now.After(c.NotAfter):
			return fmt.Errorf("the certificate of %q has expired on %s", c.Subject, c.NotAfter.UTC().Format(time.DateTime))
		case now.Before(c.NotBefore):
			return fmt.Errorf("the certificate of %q is not valid before %s", c.Subject, c.NotBefore.UTC().Format(time.DateTime))
		}
	}
	if host == "" {
		return nil
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{DNSName: host, Intermediates: between, CurrentTime: now})
	return err
}

// Certificate is how long a server may go on with what it shows its clients.
type Certificate struct {
	NotBefore time.Time // of the first to expire
	NotAfter  time.Time
}

// Certificate is the one of the chain that expires first, zero without TLS: with it
// ends what clients accept, be it the server's own or one between it and an authority.
func (r Report) Certificate() (c Certificate) {
	for _, x := range r.Chain {
		if c.NotAfter.IsZero() || x.NotAfter.Before(c.NotAfter) {
			c = Certificate{x.NotBefore, x.NotAfter}
		}
	}
	return c
}

// maxWarning is the longest time before its end that a certificate is worth a word.
const maxWarning = 14 * 24 * time.Hour

// Expiring says whether it should have been replaced by now: less than a sixth of
// its life is left, and less than 14 days. Those who renew by machine do so when a
// third is left, whether that is 30 days, 15 or 2.
func (c Certificate) Expiring(now time.Time) bool {
	return !c.NotAfter.IsZero() && c.NotAfter.Sub(now) < min(maxWarning, c.NotAfter.Sub(c.NotBefore)/6)
}
