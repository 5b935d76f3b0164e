// Package credential rotates the one thing a TURN client must know: a username
// and password that turnserver accepts.
//
// A credential is a generation. It is minted, stored where turnserver looks its
// users up, proved by a real Allocate, published, retired when its successor is
// published, and deleted when the last client that may hold it has no claim on
// it any more, or at once when it was revoked:
//
//	               a restart before publication
//	   ┌────────────┬─────────────────────▼
//	pending ──► verified ──► active ──► retiring ──► (deleted, gone from the file)
//	   └────────────┴─────────────────────┴─► revoked ──▲
//
// A rotation is begun by the schedule or by a request (Rotate). The active
// generation is revoked (Revoke) only once its successor is published, and so by
// way of retiring. A generation that another program has handed out (Import), or this host
// under another name of the node, begins as retiring.
//
// The state file is written ahead of each step, so that a crash at any point
// leaves either a generation that nobody was given or one that is on record. A
// revocation that a crash cut off before it was on record has to be asked for
// again; its caller got no answer.
//
// Invariants, each held by a test of the same number:
//
//  1. At most one generation is active, and from the first publication on one is
//     usable at every instant, crash points included.
//  2. None is handed out before an Allocate with it succeeded, in this process.
//  3. A generation that was handed out with expiry E exists until E, whatever is
//     rotated, restarted or added again meanwhile, unless it is revoked; it is
//     deleted a small skew after E, or at once if nobody fetched it.
//  4. A failed step leaves the active generation served; the step is retried with
//     jittered back-off; after E with no successor nothing is handed out.
//  5. A delete that fails is retried for ever and survives a restart.
//  6. Users with this node's prefix that no generation owns are deleted, but after
//     a lost state file only once lifetime and skew have passed since the start;
//     a live generation that is missing from the store is added again; users
//     without our prefix are never touched, but for those that an operator names
//     (Import, Prune).
//  7. Rotations are single-flight: one goroutine takes every step, and a request
//     joins the request under way and shares its outcome.
//  8. A step of the wall clock deletes nothing early: a generation that is not
//     revoked is deleted only when the wall clock and the monotonic clock both say
//     that it has expired.
//  9. A password is in the state file (mode 0600) and in the store's hands, and
//     in no log line, error or status.
//  10. A revoked generation is never handed out or added again, and is deleted as
//     soon as the store allows, restarts included. With no successor to publish
//     the active one is not revoked, and Revoke says so.
package credential
