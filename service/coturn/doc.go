// Package coturn is the only place that knows coturn's own dialect: the
// grammar of turnserver.conf, what each version understands, its CLI, and the
// lines turnserver logs. The user database is in service/userdb.
//
// turnserver forgives everything. Without its configuration file, without an
// authentication mechanism or with a misspelt option it starts all the same,
// in the worst case as a relay that is open to anybody (measured with coturn
// 4.6.1). So the operator's file is never handed to it as it is:
//
//	turnserver.conf ──ReadConf──► Conf ──Render──► the file the child reads
//	                     │                            │
//	                     └► every problem, by line    └► CheckReadable, as the child's uid
//
// ReadConf refuses what would leave the host open, or serve nobody, or keep a
// password for ever; Render adds what a supervisor needs (a log on stdout, the
// CLI on loopback) and leaves out what would work against it.
package coturn
