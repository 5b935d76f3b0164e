package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/turnwarden/turnwarden/transport"
)

// operate runs a request on the admin socket and prints its steps as they are done.
func operate(stdout io.Writer, request func(ctx context.Context, report func(transport.AdminStep)) error) error {
	return request(context.Background(), func(s transport.AdminStep) {
		outcome := "ok"
		if s.Error != "" {
			outcome = "FAILED: " + s.Error
		}
		took := time.Duration(s.Seconds * float64(time.Second)).Round(100 * time.Microsecond)
		fmt.Fprintf(stdout, "%-10s %-60s %10v  %s\n", s.Step, s.Detail, took, outcome)
	})
}

// generation is the number of one, as a flag.
type generation uint64

func (g *generation) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 {
		return fmt.Errorf("--generation: found %q; accepted: a number from 1, as in the record and the log", s)
	}
	*g = generation(n)
	return nil
}

func (g *generation) String() string { return strconv.FormatUint(uint64(*g), 10) }

func rotate(f flags, stdout io.Writer) error {
	return operate(stdout, transport.NewAdminClient(f.socket).Rotate)
}

func revoke(f flags, stdout io.Writer) error {
	named := 0
	for _, given := range []bool{f.revoke.Generation != 0, f.revoke.All, f.revoke.User != ""} {
		if given {
			named++
		}
	}
	if named != 1 {
		return refuse(fmt.Errorf("revoke: found %d of --generation, --all and --user; accepted: exactly one", named))
	}
	return operate(stdout, func(ctx context.Context, report func(transport.AdminStep)) error {
		return transport.NewAdminClient(f.socket).Revoke(ctx, f.revoke, report)
	})
}
