package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/transport/admin"
)

// Import takes over what another program has handed out.
func Import(app *kingpin.Application) (string, Run) {
	o := newOperation(app, "import", "Take over a credential that a hand-rolled monitor has handed out: it works until its expired_time, and is deleted then.",
		"turnwarden import ./credential")
	path := o.Arg("file", `What the monitor wrote at its end: {"userid" : "...", "password" : "...", "expired_time" : MILLISECONDS}.`).Required().String()
	return o.asks(func(ctx context.Context, c *admin.Client, report func(admin.Step)) error {
		i, err := readImport(*path)
		if err != nil {
			return service.Refuse(err)
		}
		return c.Import(ctx, i, report)
	})
}

// readImport reads the file of a monitor. No error quotes what it holds but the time.
func readImport(path string) (i admin.Imported, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return i, fmt.Errorf("import: %w", err)
	}
	wrong := func(found string) (admin.Imported, error) {
		return admin.Imported{}, fmt.Errorf(`%s: found %s; accepted: {"userid" : "...", "password" : "...", "expired_time" : MILLISECONDS SINCE 1970}, as the monitor writes at its end`, path, found)
	}
	if err := json.Unmarshal(data, &i); err != nil {
		at := "no JSON object of that form"
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
			at = e.Value + " as " + e.Field
		}
		return wrong(at)
	}
	const century = 100 * 365 * 24 * time.Hour
	switch expires := time.UnixMilli(i.ExpiredTime); {
	case i.UserID == "":
		return wrong("no userid")
	case i.Password == "":
		return wrong("no password")
	case i.ExpiredTime <= 0:
		return wrong("no expired_time")
	case time.Until(expires) > century:
		return wrong(fmt.Sprintf("expired_time %d, more than a hundred years ahead", i.ExpiredTime))
	case time.Until(expires) <= 0:
		return admin.Imported{}, fmt.Errorf("%s: expired_time %d was %s: no client has a claim on it any more; turnwarden users prune deletes its user", path, i.ExpiredTime, expires.Format(time.RFC3339))
	}
	return i, nil
}
