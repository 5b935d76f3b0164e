// Package e2e holds the tests that start turnwarden as its users do, beside the real parts. They
// build it first; TURNWARDEN_BINARY names another one.
package e2e
