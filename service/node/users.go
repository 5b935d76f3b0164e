package node

import (
	"context"
	"errors"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/userdb"
)

// errNoUsers says why users are nobody's business in secret mode.
var errNoUsers = errors.New("credentials.mode is secret, in which turnserver refuses every user of the userdb; users are imported and pruned in mode user")

// Import takes over a credential that another program has handed out: it works until it
// expires, and is deleted then.
func (n *Node) Import(ctx context.Context, c credential.Imported, by string, report func(service.Step)) error {
	if n.facts().Mode == coturn.ModeSecret {
		return errNoUsers
	}
	if err := n.whileRefusing(); err != nil {
		return err
	}
	if err := userdb.CheckUser(c.Username, c.Password.Reveal()); err != nil {
		return err
	}
	return n.parts.Credentials.Import(context.WithoutCancel(ctx), c, by, func(s credential.Step) { report(step(s)) })
}

// Users lists the users of the userdb, in this realm.
func (n *Node) Users(ctx context.Context) ([]credential.User, error) {
	if n.facts().Mode == coturn.ModeSecret {
		return nil, errNoUsers
	}
	return n.parts.Credentials.Users(ctx)
}

// Prune deletes users that are none of turnwarden's.
func (n *Node) Prune(ctx context.Context, names []string, by string, report func(service.Step)) error {
	if n.facts().Mode == coturn.ModeSecret {
		return errNoUsers
	}
	return n.parts.Credentials.Prune(ctx, names, by, func(s credential.Step) { report(step(s)) })
}
