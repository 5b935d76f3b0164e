package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"syscall"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// reloader looks at the files again, on SIGHUP and on turnwarden reload. What can be
// applied without touching a call is applied: certificates. The rest is read at the
// start of turnwarden alone, and said.
type reloader struct {
	flags      flags
	running    Config
	site       *site
	supervisor *supervisor.Supervisor
	logger     *slog.Logger
	hangups    <-chan os.Signal // nil = nobody sends any
}

// servedWithin is how long a certificate may take from the signal to the handshake.
const servedWithin = 10 * time.Second

// run reloads at every SIGHUP until ctx ends.
func (r *reloader) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.hangups:
			if err := r.reload(ctx, "SIGHUP", func(service.Step) {}); err != nil {
				r.logger.Error("not everything is reloaded; what ran goes on as it was", "err", err)
			}
		}
	}
}

// reload checks both files, and applies nothing if either has a mistake.
func (r *reloader) reload(ctx context.Context, by string, report func(service.Step)) error {
	begin := time.Now()
	done := func(s service.Step) {
		s.Took = time.Since(begin)
		begin = time.Now()
		log := r.logger.With("by", by, "step", s.Name, "detail", s.Detail)
		if s.Err != nil {
			log.Error("reload", "err", s.Err)
		} else {
			log.Info("reload")
		}
		report(s)
	}
	cfg, err := LoadConfig(r.flags.configFile)
	if err != nil {
		return fmt.Errorf("nothing is applied:\n%w", err)
	}
	conf, err := readConf(cfg)
	if err != nil {
		return fmt.Errorf("nothing is applied:\n%w", err)
	}
	done(service.Step{Name: "check", Detail: "both files are valid"})

	var pending []string
	if keys := changedKeys(reflect.ValueOf(r.running), reflect.ValueOf(cfg), ""); len(keys) > 0 {
		pending = append(pending, r.flags.configFile+": "+strings.Join(keys, ", "))
	}
	if !bytes.Equal(conf.Render(coturn.Runtime{}), r.site.conf.Render(coturn.Runtime{})) {
		pending = append(pending, conf.Path)
	}
	if r.site.conf.TLS || r.site.conf.DTLS {
		detail, err := r.certificates(ctx)
		done(service.Step{Name: "tls", Detail: detail, Err: err})
		if err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
	}
	if len(pending) > 0 {
		return fmt.Errorf("changed, and read at the start of turnwarden alone: %s; turnwarden drain empties and stops it, then start it again", strings.Join(pending, "; "))
	}
	return nil
}

// certificates has turnserver read its files again, and proves by a handshake that it
// serves what is there.
func (r *reloader) certificates(ctx context.Context) (detail string, err error) {
	if !r.site.version.ReloadsCertificates() {
		return "", fmt.Errorf("coturn %v is not known to read them again; turnwarden restart does", r.site.version)
	}
	want, err := leaf(r.site.conf.Cert)
	if err != nil {
		return "", err
	}
	if err := r.supervisor.Signal(syscall.SIGUSR2); err != nil {
		return "", err
	}
	detail = fmt.Sprintf("turnserver reads %s again", r.site.conf.Cert)
	for _, l := range r.site.listeners(r.supervisor.Child().PID) {
		if l.Transport != probe.TLS {
			continue
		}
		if err := served(ctx, l, want); err != nil {
			return "", err
		}
		detail = "served, by a handshake: a certificate until " + want.NotAfter.Format(time.DateTime)
	}
	return detail, nil
}

// served asks until the listener shows the certificate.
func served(ctx context.Context, l probe.Listener, want *x509.Certificate) error {
	ctx, cancel := context.WithTimeout(ctx, servedWithin)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		r := probe.Question{Listener: l, NoTURN: true, Timeout: servedWithin}.Ask(ctx)
		if len(r.Chain) > 0 && r.Chain[0].Equal(want) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("turnserver goes on with another than the one on disk (until %s): do certificate and key belong together, and may its user read them?", want.NotAfter.Format(time.DateTime)), r.Err())
		case <-again.C:
		}
	}
}

// leaf reads the first certificate of a file.
func leaf(path string) (*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
	return nil, fmt.Errorf("%s: no PEM certificate found; turnserver would go on with the one it has", path)
}

// changedKeys names the keys whose values differ.
func changedKeys(a, b reflect.Value, prefix string) (keys []string) {
	for i := range a.NumField() {
		key := strings.TrimPrefix(prefix+"."+a.Type().Field(i).Tag.Get("yaml"), ".")
		switch x, y := a.Field(i), b.Field(i); {
		case x.Kind() == reflect.Struct:
			keys = append(keys, changedKeys(x, y, key)...)
		case !reflect.DeepEqual(x.Interface(), y.Interface()):
			keys = append(keys, key)
		}
	}
	return keys
}
