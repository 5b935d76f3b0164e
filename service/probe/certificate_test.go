package probe

import (
	"crypto/x509"
	"testing"
	"time"
)

func TestExpiring(t *testing.T) {
	now := time.UnixMilli(1790000000000)
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		life, left time.Duration
		want       bool
	}{
		"a year, 15 days":     {365 * day, 15 * day, false},
		"a year, 13 days":     {365 * day, 13 * day, true},
		"90 days, a third":    {90 * day, 30 * day, false},
		"45 days, 8 days":     {45 * day, 8 * day, false},
		"45 days, 7 days":     {45 * day, 7 * day, true},
		"6 days, 2 days":      {6 * day, 2 * day, false},
		"6 days, half a day":  {6 * day, day / 2, true},
		"over":                {90 * day, -time.Second, true},
		"over and ever again": {90 * day, -90 * day, true},
	} {
		if got := (Certificate{now.Add(c.left - c.life), now.Add(c.left)}).Expiring(now); got != c.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
	if (Certificate{}).Expiring(now) {
		t.Error("no certificate expires")
	}
}

// The first certificate to expire ends it, whichever of the chain it is.
func TestEarliest(t *testing.T) {
	now := time.UnixMilli(1790000000000)
	at := func(from, to int) *x509.Certificate {
		return &x509.Certificate{NotBefore: now.AddDate(0, 0, from), NotAfter: now.AddDate(0, 0, to)}
	}
	for name, c := range map[string]struct {
		chain []*x509.Certificate
		want  Certificate
		bad   bool
	}{
		"none":         {nil, Certificate{}, false},
		"one":          {[]*x509.Certificate{at(-30, 60)}, Certificate{now.AddDate(0, 0, -30), now.AddDate(0, 0, 60)}, false},
		"its own":      {[]*x509.Certificate{at(-30, 60), at(-300, 600)}, Certificate{now.AddDate(0, 0, -30), now.AddDate(0, 0, 60)}, false},
		"the issuer's": {[]*x509.Certificate{at(-30, 60), at(-300, -1)}, Certificate{now.AddDate(0, 0, -300), now.AddDate(0, 0, -1)}, true},
		"not yet":      {[]*x509.Certificate{at(1, 60)}, Certificate{now.AddDate(0, 0, 1), now.AddDate(0, 0, 60)}, true},
	} {
		if got := (Report{Chain: c.chain}).Certificate(); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
		if err := verify(c.chain, "", now); (err != nil) != c.bad {
			t.Errorf("%s: verified: %v", name, err)
		}
	}
}
