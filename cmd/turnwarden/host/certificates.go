package host

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// servedWithin is how long a certificate may take from the signal to the handshake.
const servedWithin = 10 * time.Second

// certificates has turnserver read its files again, and proves by a handshake that it
// serves what is there.
func (r *Reloader) certificates(ctx context.Context, now *Host) (detail string, err error) {
	want, err := chain(now.Conf)
	if err != nil {
		return "", err
	}
	if err := r.answers(ctx); err != nil {
		return "", err
	}
	if err := r.Supervisor.Signal(syscall.SIGUSR2); err != nil {
		return "", err
	}
	detail = fmt.Sprintf("turnserver reads %s again", now.Conf.Cert)
	for _, l := range now.listeners(r.Supervisor.Child().PID) {
		if l.Transport != probe.TLS {
			continue
		}
		if err := served(ctx, l, want); err != nil {
			return "", err
		}
		detail = "served, by a handshake: a certificate until " + want[0].NotAfter.Format(time.DateTime)
	}
	return detail, nil
}

// answers waits until a turnserver that runs has answered: until it heeds the signal,
// which is seconds after its start with some builds, the signal ends it. It has also
// answered where it has shown a certificate, which may be why it never served.
func (r *Reloader) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, servedWithin)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		s := r.Status()
		shown := func(a probe.Answer) bool { return !a.Certificate.NotAfter.IsZero() }
		if s.Child.State != supervisor.Running || s.Probe.PID == s.Child.PID && (s.Probe.Served || slices.ContainsFunc(s.Probe.Answers, shown)) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("turnserver runs and has not answered yet; it cannot be told to read them again before")
		case <-again.C:
		}
	}
}

// served asks until the listener shows the certificates.
func served(ctx context.Context, l probe.Listener, want []*x509.Certificate) error {
	ctx, cancel := context.WithTimeout(ctx, servedWithin)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		r := probe.Question{Listener: l, NoTURN: true, Timeout: servedWithin}.Ask(ctx)
		// OpenSSL adds those of the authorities that it knows itself.
		if len(r.Chain) >= len(want) && slices.EqualFunc(r.Chain[:len(want)], want, (*x509.Certificate).Equal) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("turnserver goes on with others than those on disk (until %s): may its user read them?", want[0].NotAfter.Format(time.DateTime)), r.Err())
		case <-again.C:
		}
	}
}

// chain reads the certificates of turnserver.conf, the server's first, and looks that its
// key belongs to it. A key that is encrypted only coturn can open.
func chain(conf *coturn.Conf) (all []*x509.Certificate, err error) {
	certs, err := os.ReadFile(conf.Cert)
	if err != nil {
		return nil, fmt.Errorf("cert: %w", err)
	}
	for block, rest := pem.Decode(certs); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("cert: %s: %w", conf.Cert, err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("cert: %s: no PEM certificate found; turnserver would go on with the one it has", conf.Cert)
	}
	key, err := os.ReadFile(conf.Key)
	if err != nil {
		return nil, fmt.Errorf("pkey: %w", err)
	}
	if bytes.Contains(key, []byte("ENCRYPTED")) {
		return all, nil
	}
	if _, err := tls.X509KeyPair(certs, key); err != nil {
		return nil, fmt.Errorf("cert, pkey: %s and %s: %w; turnserver would go on with those it has", conf.Cert, conf.Key, err)
	}
	return all, nil
}
