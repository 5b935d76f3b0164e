// Package node joins the parts of one host: it passes on what one learns to those who need
// it, and decides nothing that a part can decide alone.
//
//	supervisor, probe, credential, traffic, calls ──► Node ──► Status, record, credentials
//	an operator ─► Rotate, Revoke, Maintenance ─────┘
package node
