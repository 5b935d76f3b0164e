// Package directory is what the writers and the readers of the fleet's list share:
// the record of a node (Record v1), a ZooKeeper session that survives what
// ZooKeeper goes through, and ephemeral nodes that are only ever ours. No other
// package imports the ZooKeeper client.
//
// One link is one ZooKeeper session. A link whose session is lost is thrown away
// and a fresh one made, because the client library never gives up by itself: after
// a loss of ZooKeeper's data it is refused for ever (go-zookeeper#36).
//
//	          handshake, credential           1.3 timeouts without a connection,
//	connecting ──────────► connected ─┐       or expired by the server, or an
//	                        ▲      │  │       operation that took a whole timeout
//	                        │      ▼  │                  │
//	                      disconnected┴──────────────────┴──► expired ──► (a fresh link) connected
package directory
