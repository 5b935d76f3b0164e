package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/turnwarden/turnwarden/service/userdb"
)

// Keeper keeps one connection to the database open, in a sqlite3 program that waits.
//
// SQLite recovers when a first connection is opened after a crash and cleans up when
// the last one is closed, and locks everybody out meanwhile. coturn waits for no lock:
// it answers 401 to valid users. After a turnserver was killed, each of our own short
// connections was such a first or last one: of 4889 valid Allocates 226 were refused
// while users were stored as it started again (coturn 4.6.1), and none with a keeper.
type Keeper struct {
	db     DB
	logger *slog.Logger

	in     io.Closer       // the program ends with its input
	exited <-chan struct{} // closed when the program has been reaped
}

// Keep opens the connection.
func (db DB) Keep(ctx context.Context, logger *slog.Logger) (*Keeper, error) {
	k := &Keeper{db: db, logger: logger}
	if err := k.open(ctx); err != nil {
		return nil, err
	}
	return k, nil
}

// Run keeps the connection until ctx ends, and makes another when it is lost.
func (k *Keeper) Run(ctx context.Context) error {
	retry := time.NewTicker(time.Second)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			k.in.Close()
			<-k.exited
			return nil
		case <-k.exited:
		}
		err := k.open(ctx)
		k.logger.Warn("connection that keeps the userdb open was lost", "path", k.db.Path, "err", err)
		for err != nil {
			select {
			case <-ctx.Done():
				return nil
			case <-retry.C:
				err = k.open(ctx)
			}
		}
	}
}

// open starts the program and returns when it has read from the database: before that
// it has no connection.
func (k *Keeper) open(ctx context.Context) (err error) {
	cmd := k.db.sqlite3(context.WithoutCancel(ctx))
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("keep the userdb open: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("keep the userdb open: %w", err)
	}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("keep the userdb open: %w", err)
	}
	hung := time.AfterFunc(userdb.ProgramLimit, func() { _ = cmd.Cancel() })
	_, err = fmt.Fprintf(in, ".timeout %d\nSELECT count(*) FROM turnusers_lt;\n", busyTimeout.Milliseconds())
	if err == nil {
		_, err = bufio.NewReader(out).ReadString('\n')
	}
	hung.Stop()
	if err != nil {
		in.Close()
		_ = cmd.Wait()
		said, _, _ := strings.Cut(complaint.String(), "\n")
		return k.db.explain(ctx, fmt.Errorf("keep the userdb %s open: %w: %s", k.db.Path, err, said))
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait()
	}()
	k.in, k.exited = in, exited
	return nil
}
