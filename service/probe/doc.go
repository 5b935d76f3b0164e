// Package probe asks a TURN server what only a working one can answer. A live
// pid proves nothing: coturn stays up when it cannot bind, when its
// configuration is missing (it is an open relay then) and when it hangs.
//
// A Question goes to one listener and takes it through the stages, each more
// telling than the one before, on one new socket:
//
//	the port is open                              (resolve)
//	a client can encrypt, and trust whom it sees  (tls)
//	the listener answers                          (bind)
//	a stranger is refused with 401                (unauthorized)
//	a credential gets an allocation,              (allocate)
//	through which bytes go and come back,         (relay)
//	and which is given back                       (refresh)
//
// A Prober asks every listener of the running child at the same time, fast until
// the first good answer and then at an interval, and keeps the verdict:
//
//	new child ──► not serving ──one good probe──► serving
//	                   ▲                             │
//	                   └── FailAfter failures in a row ┘
//
// A full server (486, 508) is not a broken one, and a failure that happened
// while this process itself was not being run says nothing about the server.
//
// # Which failures count
//
// The verdict takes a node out and restarts its server, which ends every call
// there. So the first listener alone decides it: UDP, which most clients use, or
// where there is none TCP, or TLS. A server that serves UDP and has, say, let its
// certificate expire is worth more to all the others than a restart that mends
// nothing. What fails besides is a note in /-/ready, a metric and an alert:
//
//   - another transport, of which an open relay alone counts: any is one too many
//   - the relay stage: what is lost on loopback may be a firewall's doing, and
//     peers elsewhere are reached all the same. It is asked where the
//     configuration allows peers on loopback, and is absent elsewhere
//   - a relayed address that is not the configured one: no restart changes it,
//     and calls between clients of one server, or with peers of its own network,
//     work in spite of it
//
// All other listeners together get one timeout, so that none of them can delay
// what decides: a hang is noticed within Interval*FailAfter + Timeout. Each of them
// costs the server one allocation in every round, which coturn 4.6.1 counts for
// 1.00 s longer than it stands.
package probe
