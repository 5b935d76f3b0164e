// Package service is the domain of turnwarden: what a node is, when it may be
// listed, and what it offers to those who place calls.
//
//	supervisor ─ keeps one turnserver alive ──┐
//	probe ────── proves that it serves ───────┤
//	credential ─ proves who may use it ───────┼─► Status ─► Readiness ─► registry
//	traffic ──── measures the room it has ────┘      └────► /metrics, /-/ready
//
// Each part is a package below this one and knows none of the others; node joins
// them. This package is what all of them and those outside agree on: the interface, the
// words, Status as the one read model and Readiness as the one rule. It imports no room.
package service
