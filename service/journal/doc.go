// Package journal remembers what was logged: the last warnings for the status page, and the
// last lines for whoever follows them.
package journal
