// Package service is the domain of turnwarden: what a node is, when it may be
// listed, and what it offers to those who place calls.
//
//	supervisor ─ keeps one turnserver alive ──┐
//	probe ────── proves that it serves ───────┤
//	credential ─ proves who may use it ───────┼─► Status ─► Readiness ─► registry
//	traffic ──── measures the room it has ────┘      └────► /metrics, /-/ready
//
// Each part is a package below this one and knows none of the others. Node joins
// them: it passes on what one learns to those who need it, and decides nothing
// that a part can decide alone. Status is the one read model, Readiness the one
// rule.
package service
