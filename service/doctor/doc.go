// Package doctor knows what is wrong with a TURN host, why that matters and what
// mends it. It is pure: a Patient is all that is known of the host, and Examine goes
// through the checks, each of which has a fixture that trips it and one that does not.
//
// Nothing is edited. What can be mended in turnserver.conf comes as a diff.
package doctor
