package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/turnwarden/turnwarden/service/probe"
)

// probeOutcome is what `turnwarden probe --output=json` prints. Its names are API.
type probeOutcome struct {
	Target       string             `json:"target"`
	Transport    probe.Transport    `json:"transport,omitempty"`
	Address      string             `json:"address,omitempty"`
	OK           bool               `json:"ok"`
	ExitCode     int                `json:"exit_code"`
	Stages       []probeStage       `json:"stages"`
	Relayed      string             `json:"relayed_address,omitempty"`
	EchoSeconds  float64            `json:"echo_seconds,omitempty"`
	Certificates []probeCertificate `json:"certificates,omitempty"` // the server's own first
	Notes        []string           `json:"notes,omitempty"`
}

type probeStage struct {
	Stage   string  `json:"stage"`
	OK      bool    `json:"ok"`
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error,omitempty"`
}

type probeCertificate struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

func newProbeOutcome(target string, l probe.Listener, r probe.Report) probeOutcome {
	o := probeOutcome{Target: target, Transport: l.Transport, OK: true, EchoSeconds: r.EchoRTT.Seconds()}
	if l.Addr.IsValid() {
		o.Address = l.Addr.String()
	}
	for _, s := range r.Steps {
		stage := probeStage{Stage: s.Stage, OK: s.Err == nil, Seconds: s.Took.Seconds()}
		if s.Err != nil {
			stage.Error = strings.TrimPrefix(s.Err.Error(), s.Stage+": ")
		}
		o.Stages = append(o.Stages, stage)
	}
	if step, failed := r.Failed(); failed {
		o.OK, o.ExitCode = false, probeExit(step)
	}
	for _, c := range r.Chain {
		o.Certificates = append(o.Certificates, probeCertificate{c.Subject.String(), c.Issuer.String(), c.NotBefore.UTC(), c.NotAfter.UTC()})
	}
	if last := r.Steps[len(r.Steps)-1]; last.Stage == probe.StageUnauthorized && last.Err == nil {
		o.Notes = append(o.Notes, "without --credential.file no allocation was asked for")
	}
	if r.Certificate().Expiring(time.Now()) {
		o.Notes = append(o.Notes, "the certificate should have been renewed by now: it ends on "+r.Certificate().NotAfter.UTC().Format(time.DateTime))
	}
	if relayed := r.Relayed.Addr(); relayed.IsValid() {
		o.Relayed = r.Relayed.String()
		if relayed.IsPrivate() && l.Addr.Addr().IsGlobalUnicast() && !l.Addr.Addr().IsPrivate() {
			o.Notes = append(o.Notes, fmt.Sprintf("peers are told to send to %v, which is private, though the server is reached at %v: its external-ip is missing or wrong", relayed, l.Addr.Addr()))
		}
	}
	return o
}

// printText writes a line for each stage: how long it took, and what it told.
func (o probeOutcome) printText(w io.Writer) error {
	w = sanitized{w}
	for _, s := range o.Stages {
		told := ""
		switch {
		case !s.OK:
			told = "FAILED: " + s.Error
		case s.Stage == probe.StageResolve:
			told = o.Address
		case s.Stage == probe.StageTLS:
			c := o.Certificates[0]
			told = fmt.Sprintf("certificate of %s, by %s, ends on %s", c.Subject, c.Issuer, c.NotAfter.Format(time.DateTime))
		case s.Stage == probe.StageAllocate:
			told = "relayed address " + o.Relayed
		case s.Stage == probe.StageRelay:
			told = fmt.Sprintf("%d bytes there and back in %v", probeEcho, took(o.EchoSeconds))
		}
		if _, err := fmt.Fprintf(w, "%-12s %9v  %s\n", s.Stage, took(s.Seconds), cmp.Or(told, "ok")); err != nil {
			return err
		}
	}
	for _, n := range o.Notes {
		if _, err := fmt.Fprintln(w, "note:", n); err != nil {
			return err
		}
	}
	return nil
}

func took(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second)).Round(10 * time.Microsecond)
}
