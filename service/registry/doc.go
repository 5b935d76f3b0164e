// Package registry keeps this node's record in ZooKeeper, so that those who choose a
// TURN server know that it is there and how much room it has.
//
// The Registrar asks its source what is true at the moment of each write, so nothing
// queues up while ZooKeeper is away and nothing old is written when it is back. It
// writes every interval, and at once when the source has news (Kick), when somebody
// waits for it (Flush), and when there is a new session or a rival has gone. No other
// part of the process ever waits for ZooKeeper, save by Flush.
//
// A second node, for the service discovery of Prometheus, is written once per
// session: Prometheus leaks memory with each write to a node that it watches.
package registry
