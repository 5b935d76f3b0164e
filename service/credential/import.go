package credential

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// Imported is a credential that another program has handed out.
type Imported struct {
	Username string
	Password Secret
	Expires  time.Time // what its clients were told
}

// Import takes over what another program has promised: the user exists until Expires,
// and is deleted then, as if we had published it and made a successor since. What was
// done is told to report, from the goroutine that rotates.
func (r *Rotator) Import(ctx context.Context, c Imported, by string, report func(Step)) (err error) {
	doErr := r.do(ctx, func(ctx context.Context) { err = r.adopt(ctx, c, Why{"import", by}, report) })
	return errors.Join(doErr, err)
}

func (r *Rotator) adopt(ctx context.Context, c Imported, why Why, report func(Step)) error {
	now := time.Now()
	g := generation{
		ID: r.snapshot().next, Username: c.Username, Password: c.Password, State: Retiring, Imported: true, Expires: c.Expires,
		seen: now, left: validity(now, c.Expires, r.config().Lifetime), fetched: new(atomic.Bool),
	}
	g.fetched.Store(true)
	switch known := r.Find(c.Username); {
	case known != 0:
		return fmt.Errorf("user %s is generation %d already", c.Username, known)
	case owns(r.config().Node, c.Username):
		return fmt.Errorf("user %s has the form of this node's own users, which are not imported", c.Username)
	case !now.Before(c.Expires):
		return fmt.Errorf("the credential of user %s has expired at %s: no client has a claim on it", c.Username, c.Expires.Format(time.RFC3339))
	}
	step := func(name string, do func() error) error {
		start := time.Now()
		err := do()
		report(Step{Name: name, Generation: g.ID, Took: time.Since(start), Err: err})
		return err
	}
	users, err := r.list(ctx)
	if err != nil {
		return err
	}
	there := slices.Contains(users, c.Username)
	prove := func() error { return r.verify(ctx, &g) }
	if there {
		if err := step("prove", prove); errors.Is(err, ErrRefused) {
			// Somebody has given it another since, and putting ours back would cut that one off.
			return fmt.Errorf("the userdb knows user %s by another password: %w; import the file that was written last", c.Username, err)
		} else if err != nil {
			return err
		}
	}
	if err := step("record", func() error {
		err := r.commit(func(b *book) { b.next++; b.gens = append(b.gens, g) })
		r.audit(&g, Retiring, why, now, err)
		return err
	}); err != nil || there {
		return err
	}
	err = step("store", func() error { return r.put(ctx, &g) })
	if err == nil {
		err = step("prove", prove)
	}
	if err != nil {
		return errors.Join(err, r.delete(ctx, &g, why)) // one half is nothing to build on
	}
	return nil
}

func (r *Rotator) list(ctx context.Context) (users []string, err error) {
	err = bounded(ctx, func(ctx context.Context) error { users, err = r.store.List(ctx); return err })
	return users, err
}
