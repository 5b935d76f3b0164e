package gateway

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/fleet"
)

// unsure is how long a credential is handed out again while nobody can say whether it
// was revoked meanwhile.
const unsure = time.Second

// issue tells the credentials of a node apart: the record shows another one at once when
// the node hands out another, as after a revocation.
type issue struct {
	registration int64 // a node that lost its state counts its generations anew
	generation   uint64
}

func issueOf(n *fleet.Node) issue { return issue{n.Registration, n.Record.Generation} }

// kept are the credentials that nodes have handed out and that all their clients share.
type kept struct {
	nodes sync.Map // name: *keptCredential
	n     atomic.Int64
}

type keptCredential struct {
	issue      issue
	credential service.Credential
	asked      time.Time // when it was asked for, which is before it was handed out
}

// get returns the credential of a node if it is known to be the one that the node would
// hand out now. That is not known of a record that is not there any more, or not read
// any more.
func (k *kept) get(n *fleet.Node, live bool, now time.Time) (service.Credential, bool) {
	v, ok := k.nodes.Load(n.Name)
	if !ok {
		return service.Credential{}, false
	}
	c := v.(*keptCredential)
	if c.issue != issueOf(n) || !now.Before(c.credential.Expires) || (!live || n.Held) && now.Sub(c.asked) > unsure {
		return service.Credential{}, false
	}
	return c.credential, true
}

func (k *kept) put(name string, c keptCredential) {
	if _, had := k.nodes.Swap(name, &c); !had {
		k.n.Add(1)
	}
}

// prune forgets the credentials of nodes that are gone.
func (k *kept) prune(s *fleet.Snapshot) {
	k.nodes.Range(func(name, _ any) bool {
		if s.Find(name.(string)) == nil {
			k.nodes.Delete(name)
			k.n.Add(-1)
		}
		return true
	})
}

func (k *kept) count() int { return int(k.n.Load()) }
