// Package fleet reads the records of all nodes and picks servers for clients.
//
//	ZooKeeper ──► watch ──► []Candidate ──► Picker ──► a few servers, best first
//	              (I/O, time)            (pure, < 1 µs)
//
// A record is up to an interval old, and everybody who picks reads the same one. To
// take the server with most room is therefore the worst of all rules: for a whole
// interval everybody sends everything there. The Picker draws lots weighted by
// room, remembers what it has sent where since the record was written, and prefers
// the emptier of two draws. docs/selection.md compares the rules; make simulate
// made it with this very code.
package fleet
