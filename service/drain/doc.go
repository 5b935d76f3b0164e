// Package drain empties a node: it has new calls kept away, waits for those that run, and
// does what is to follow. phase.go has the rule, a table of transitions; run.go does what
// each phase begins and ends with, and holds its deadline.
package drain
