package host

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/cmd/turnwarden/handover"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/userdb"
	"github.com/turnwarden/turnwarden/service/userdb/sqlite"
	"github.com/turnwarden/turnwarden/service/userdb/turnadmin"
)

// StateFile keeps the generations of each mode apart: those of one are none of the
// other's.
func StateFile(cfg config.Node) string {
	name := "credentials.json"
	if cfg.Credentials.Mode == "secret" {
		name = "secrets.json"
	}
	return filepath.Join(cfg.Credentials.StateDir, name)
}

// Store is where credentials are written for turnserver to find.
func (h *Host) Store() credential.Store {
	if h.Config.Credentials.Mode == "secret" {
		return sqlite.NewSecrets(h.UserDB)
	}
	if h.Config.Credentials.UserDB == "sqlite" {
		return sqlite.NewUsers(h.UserDB)
	}
	return turnadmin.New(h.Config.Coturn.Turnadmin, h.UserDB.File, h.UserDB)
}

// RunAs resolves whom the child runs as, nil for as we do: coturn.user, or what proc-user
// said.
func RunAs(cfg config.Node, conf *coturn.Conf, logger *slog.Logger) (*syscall.Credential, error) {
	name, key := cfg.Coturn.User, "coturn.user"
	if name == "" && conf.ProcUser != "" {
		name, key = conf.ProcUser, "proc-user"
	}
	if name == "" {
		return nil, nil //nolint:nilnil // as we do
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; name an existing user", key, err)
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	if int(uid) == os.Geteuid() {
		return nil, nil //nolint:nilnil // as we do
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%s: only root can run turnserver as %s, and this is uid %d; start turnwarden as root or as %s", key, name, os.Geteuid(), name)
	}
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	as := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	if groups, err := u.GroupIds(); err == nil {
		for _, g := range groups {
			if id, err := strconv.ParseUint(g, 10, 32); err == nil {
				as.Groups = append(as.Groups, uint32(id))
			}
		}
	}
	logger.Debug("turnserver runs as another user", "user", name)
	return as, nil
}

func (h *Host) prepareUserDB(ctx context.Context, from *handover.Inherited) error {
	h.UserDB = sqlite.DB{File: userdb.File{Path: h.Conf.UserDB, Realm: h.Conf.Realm, As: h.as}}
	if !from.Fresh() {
		return nil // it is in use
	}
	if err := turnadmin.Check(h.Config.Coturn.Turnadmin); err != nil {
		return err
	}
	return h.UserDB.Prepare(ctx, func(ctx context.Context) error {
		return turnadmin.Complete(ctx, h.Config.Coturn.Turnadmin, h.UserDB.File)
	})
}
