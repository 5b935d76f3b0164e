// Package calls knows the calls of one turnserver: it counts them in its log, compares that
// with what cannot be forged, and ends those of revoked users.
//
//	stdout ─► Log ── counts ──► Status        CLI ─► Census ─ mends ─► Log
//	                                          CLI ◄─ Sweeper ◄─ a revocation
package calls
