// Package supervisor keeps one TURN server alive, and makes sure that there is
// never more than one.
//
// Two turnservers on one port are worse than none: with SO_REUSEPORT both run
// without an error, the kernel splits the clients between them, and each half
// meets a server that does not know the other's allocations (measured with
// coturn 4.6.1: 44 % of the Allocates went to the wrong one). So the child has
// one owner, Supervisor.Run; it is reaped before another is started; it dies
// with us, however we die, and stays through an exec of ours (Thread, Adopt);
// what an earlier run left behind is found and ended (Orphans, KillOrphan); and
// who else holds our ports can be told at any time (Foreign).
//
//	starting ──► running ──► stopping ──► starting   Restart
//	   │ fails      │ dies       └──────► stopped    Halt, Stop, or the end of Run
//	   ▼            │
//	backoff ◄───────┘
//	   └──► starting
package supervisor
