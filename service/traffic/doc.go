// Package traffic says how much more a node could carry: it reads the byte
// counters of the network interfaces that relay, turns them into rates, and the
// rates into headroom, the free Mbps that the record announces.
//
//	/proc/net/dev, /sys/class/net ──► Procfs ──► Reading ──► Meter ──► Sample
//	                                             (every interval)    (Last, at any time)
//
// A number that is too high sends a crowd of clients to a full server, so every
// doubt (first reading, counter that ran backwards, interface that came or went)
// makes the meter keep its last sample rather than guess, and a sample that got
// too old takes the node out of the directory.
package traffic
