package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/turnwarden/turnwarden/service"
)

// Accounts is what an operator may ask about the users of the userdb.
type Accounts interface {
	Import(ctx context.Context, c service.Imported, by string, report func(service.Step)) error
	Users(ctx context.Context) ([]service.User, error)
	Prune(ctx context.Context, names []string, by string, report func(service.Step)) error
}

const (
	pathImport = "/v1/import"
	pathUsers  = "/v1/users" // GET
	pathPrune  = "/v1/users/prune"
)

// Imported is a credential as hand-rolled monitors write it to a file.
type Imported struct {
	UserID      string `json:"userid"`
	Password    string `json:"password"`
	ExpiredTime int64  `json:"expired_time"` // milliseconds since 1970
}

// User is one user of the userdb.
type User struct {
	Name       string    `json:"name"`
	Ours       bool      `json:"ours"`
	Generation uint64    `json:"generation,omitempty"`
	State      string    `json:"state,omitempty"`
	Expires    time.Time `json:"expires,omitzero"`
}

type pruneRequest struct{ Names []string }

func handleUsers(mux *http.ServeMux, a Accounts) {
	mux.Handle("POST "+pathImport, stream(func(ctx context.Context, c Imported, by string, report func(service.Step)) error {
		return a.Import(ctx, service.Imported{Username: c.UserID, Password: service.Secret(c.Password), Expires: time.UnixMilli(c.ExpiredTime)}, by, report)
	}))
	mux.HandleFunc("GET "+pathUsers, func(w http.ResponseWriter, r *http.Request) {
		users, err := a.Users(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		all := make([]User, 0, len(users))
		for _, u := range users {
			all = append(all, User{u.Name, u.Ours, u.Generation, string(u.State), u.Expires})
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(all) // who has hung up is not told the rest
	})
	mux.Handle("POST "+pathPrune, stream(func(ctx context.Context, r pruneRequest, by string, report func(service.Step)) error {
		return a.Prune(ctx, r.Names, by, report)
	}))
}

// Import takes over a credential that another program has handed out.
func (c *Client) Import(ctx context.Context, i Imported, report func(Step)) error {
	return c.post(ctx, pathImport, i, report)
}

// Users lists the users of the userdb.
func (c *Client) Users(ctx context.Context) (all []User, err error) {
	body, err := c.do(ctx, http.MethodGet, pathUsers, nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(&all); err != nil {
		return nil, fmt.Errorf("read the users: %w", err)
	}
	return all, nil
}

// Prune deletes users that are none of turnwarden's: some dozens at a time, for the
// credentials are renewed between two requests only.
func (c *Client) Prune(ctx context.Context, names []string, report func(Step)) error {
	return c.post(ctx, pathPrune, pruneRequest{names}, report)
}
