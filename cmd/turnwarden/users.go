package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/turnwarden/turnwarden/transport/admin"
)

// addImport adds the command that takes over what another program has handed out.
func addImport(requests map[string]request, add func(name, help string) *kingpin.CmdClause) {
	var path string
	cmd := add("import", "Take over a credential that a hand-rolled monitor has handed out: it works until its expired_time, and is deleted then.")
	cmd.Arg("file", `What the monitor wrote at its end: {"userid" : "...", "password" : "...", "expired_time" : MILLISECONDS}.`).Required().StringVar(&path)
	requests["import"] = func(ctx context.Context, c *admin.Client, report func(admin.Step)) error {
		i, err := readImport(path)
		if err != nil {
			return refuse(err)
		}
		return c.Import(ctx, i, report)
	}
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

// usersFlags are those of turnwarden users.
type usersFlags struct {
	what     string
	patterns []string
}

func usersCommand(app *kingpin.Application, f *flags) *kingpin.CmdClause {
	c := app.Command("users", "List the users of the userdb, or prune those that another program has left there. What is turnwarden's own is never pruned, what is not only if it is named. Exit code 1: not all that was named is gone.")
	socketFlag(c, f)
	c.Flag("yes", "Delete without asking.").BoolVar(&f.yes)
	c.Arg("list|prune", "What to do.").Required().EnumVar(&f.users.what, "list", "prune")
	c.Arg("pattern", "Users to prune, with * for any characters and ? for one; quote it from the shell.").StringsVar(&f.users.patterns)
	return c
}

// pruneAtOnce bounds one request: turnwarden renews credentials between two only.
const pruneAtOnce = 50

func manageUsers(f flags, stdin io.Reader, stdout io.Writer, s *signals) error {
	ctx, stop := s.interrupt()
	defer stop()
	prune := f.users.what == "prune"
	if !prune && len(f.users.patterns) > 0 {
		return refuse(errors.New("users list: found a pattern; accepted: none, for all are listed"))
	}
	c := admin.NewClient(f.socket)
	users, err := c.Users(ctx)
	if err != nil {
		return err
	}
	chosen, kept := choose(users, f.users.patterns)
	if !prune {
		return printUsers(stdout, users)
	}
	if len(f.users.patterns) == 0 {
		if err := printUsers(stdout, users); err != nil {
			return err
		}
		return refuse(errors.New("users prune: found no pattern; accepted: names of users as above, with * and ?, for which of them a monitor has left behind only you can know; nothing is deleted"))
	}
	if err := printUsers(stdout, slices.Concat(chosen, kept)); err != nil {
		return err
	}
	if len(chosen) == 0 {
		fmt.Fprintln(stdout, "nothing to delete")
		return nil
	}
	if !f.yes {
		question := fmt.Sprintf("Delete %s? Running calls go on, new logins with them are refused. Type yes: ", count(len(chosen), "user"))
		if answer(ctx, stdin, stdout, question) != "yes" {
			return errors.New("users prune: no yes; nothing is deleted (--yes does not ask)")
		}
	}
	return pruneUsers(ctx, c, stdout, chosen)
}

func pruneUsers(ctx context.Context, c *admin.Client, stdout io.Writer, chosen []admin.User) (err error) {
	deleted := 0
	for some := range slices.Chunk(chosen, pruneAtOnce) {
		var names []string
		for _, u := range some {
			names = append(names, u.Name)
		}
		err = cmp.Or(err, c.Prune(ctx, names, func(s admin.Step) {
			if s.Error == "" {
				deleted++
			} else {
				fmt.Fprintf(stdout, "%s: %s\n", inLine(s.Detail), inLine(s.Error))
			}
		}))
		if ctx.Err() != nil {
			break
		}
	}
	fmt.Fprintf(stdout, "deleted %d of %s\n", deleted, count(len(chosen), "user"))
	return err
}

// choose returns whom the patterns name, apart from those that are turnwarden's own.
func choose(users []admin.User, patterns []string) (chosen, kept []admin.User) {
	for _, u := range users {
		switch {
		case !slices.ContainsFunc(patterns, func(p string) bool { return glob(p).MatchString(u.Name) }):
		case u.Ours:
			kept = append(kept, u)
		default:
			chosen = append(chosen, u)
		}
	}
	return chosen, kept
}

// glob is a pattern in which, unlike in those of file names, * takes a slash, too.
func glob(pattern string) *regexp.Regexp {
	pattern = strings.ToValidUTF8(pattern, "\ufffd") // as names come here, in JSON
	return regexp.MustCompile("(?s)^" + strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern)) + "$")
}

func printUsers(w io.Writer, users []admin.User) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, u := range users {
		whose := "not turnwarden's"
		switch {
		case u.Generation != 0 && u.Expires.IsZero():
			whose = fmt.Sprintf("turnwarden's generation %d, %s", u.Generation, u.State)
		case u.Generation != 0:
			whose = fmt.Sprintf("turnwarden's generation %d, %s, until %s", u.Generation, u.State, u.Expires.Local().Format(time.RFC3339))
		case u.Ours:
			whose = "turnwarden's, on no record; deleted when no client can hold it"
		}
		fmt.Fprintf(t, "%s\t%s\n", inLine(u.Name), inLine(whose))
	}
	return t.Flush()
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
