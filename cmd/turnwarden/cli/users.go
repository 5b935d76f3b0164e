package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/transport/admin"
)

// Users lists the users of the userdb, or prunes those that another program has left there.
func Users(app *kingpin.Application) (string, Run) {
	c := newCommand(app, "users", "List the users of the userdb, or prune those that another program has left there. What is turnwarden's own is never pruned, what is not only if it is named. Exit code 1: not all that was named is gone.",
		"turnwarden users list", "turnwarden users prune 'monitor-*'", "turnwarden users prune --yes alice bob")
	socket := socketFlag(c)
	yes := c.Flag("yes", "Delete without asking.").Bool()
	what := c.Arg("list|prune", "What to do.").Required().Enum("list", "prune")
	patterns := c.Arg("pattern", "Users to prune, with * for any characters and ? for one; quote it from the shell.").Strings()
	return c.FullCommand(), func(ctx context.Context, in io.Reader, out io.Writer) error {
		if *what == "list" {
			return listUsers(ctx, admin.NewClient(*socket), *patterns, out)
		}
		return pruneUsers(ctx, admin.NewClient(*socket), *patterns, *yes, in, out)
	}
}

func listUsers(ctx context.Context, c *admin.Client, patterns []string, out io.Writer) error {
	if len(patterns) > 0 {
		return service.Refuse(errors.New("users list: found a pattern; accepted: none, for all are listed"))
	}
	users, err := c.Users(ctx)
	if err != nil {
		return err
	}
	return printUsers(out, users)
}

func pruneUsers(ctx context.Context, c *admin.Client, patterns []string, yes bool, in io.Reader, out io.Writer) error {
	users, err := c.Users(ctx)
	if err != nil {
		return err
	}
	if len(patterns) == 0 {
		if err := printUsers(out, users); err != nil {
			return err
		}
		return service.Refuse(errors.New("users prune: found no pattern; accepted: names of users as above, with * and ?, for which of them a monitor has left behind only you can know; nothing is deleted"))
	}
	chosen, kept := choose(users, patterns)
	if err := printUsers(out, slices.Concat(chosen, kept)); err != nil {
		return err
	}
	if len(chosen) == 0 {
		fmt.Fprintln(out, "nothing to delete")
		return nil
	}
	if !yes {
		question := fmt.Sprintf("Delete %s? Running calls go on, new logins with them are refused. Type yes: ", count(len(chosen), "user"))
		if answer(ctx, in, out, question) != "yes" {
			return errors.New("users prune: no yes; nothing is deleted (--yes does not ask)")
		}
	}
	return deleteUsers(ctx, c, out, chosen)
}

// pruneAtOnce bounds one request: turnwarden renews credentials between two only.
const pruneAtOnce = 50

func deleteUsers(ctx context.Context, c *admin.Client, stdout io.Writer, chosen []admin.User) (err error) {
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
