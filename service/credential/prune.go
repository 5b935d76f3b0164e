package credential

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// User is one user of the store, and what we know of it.
type User struct {
	Name       string
	Ours       bool      // by its form, or because it is on record
	Generation uint64    // 0 if it is not on record
	State      State     // of that
	Expires    time.Time // of that
}

// Users lists all users of the store.
func (r *Rotator) Users(ctx context.Context) (users []User, err error) {
	doErr := r.do(ctx, func(ctx context.Context) {
		var names []string
		names, err = r.list(ctx)
		for _, name := range names {
			users = append(users, r.user(name))
		}
	})
	return users, errors.Join(doErr, err)
}

func (r *Rotator) user(name string) User {
	u := User{Name: name, Ours: owns(r.config().Node, name)}
	for _, g := range r.snapshot().gens {
		if g.Username == name {
			u.Ours, u.Generation, u.State, u.Expires = true, g.ID, g.State, g.Expires
		}
	}
	return u
}

// Prune deletes users that are none of ours, which nothing else does: an operator has
// named them. One that is ours is refused, for it is deleted in its time. The error is
// the first that could not be deleted.
func (r *Rotator) Prune(ctx context.Context, names []string, by string, report func(Step)) (err error) {
	doErr := r.do(ctx, func(ctx context.Context) {
		var users []string
		if users, err = r.list(ctx); err != nil {
			return
		}
		deleted := 0
		for _, name := range names {
			start := time.Now()
			failed := r.prune(ctx, name, users)
			report(Step{Name: "delete", User: name, Took: time.Since(start), Err: failed})
			if failed == nil {
				deleted++
			} else if err == nil {
				err = failed
			}
		}
		r.logger.Info("deleted users that an operator named", "step", "prune", "detail", fmt.Sprintf("%d of %d", deleted, len(names)), "by", by)
	})
	return errors.Join(doErr, err)
}

func (r *Rotator) prune(ctx context.Context, name string, users []string) error {
	if r.user(name).Ours {
		return fmt.Errorf("user %s is turnwarden's own, which deletes it in its time; revoke takes it out of use now", name)
	}
	if !slices.Contains(users, name) {
		return fmt.Errorf("no user %s in the userdb", name)
	}
	return r.remove(ctx, name)
}
