// Package probe asks a TURN server what only a working one can answer. A live
// pid proves nothing: coturn stays up when it cannot bind, when its
// configuration is missing (it is an open relay then) and when it hangs.
//
// The stages, each on a socket of its own, each more telling than the one before:
//
//	Binding    the listener answers              (bind)
//	Anonymous  a stranger is refused with 401    (unauthorized)
//	Allocate   a credential gets an allocation,  (allocate)
//	           which is given back at once       (refresh)
//	Relay      bytes go through and come back    (relay)
//
// A Prober runs them against the running child, fast until its first good
// answer and then at an interval, and keeps the verdict:
//
//	new child ──► not serving ──one good probe──► serving
//	                   ▲                             │
//	                   └── FailAfter failures in a row ┘
//
// A full server (486, 508) is not a broken one, and a failure that happened
// while this process itself was not being run says nothing about the server.
package probe
