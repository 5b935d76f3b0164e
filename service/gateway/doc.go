// Package gateway is the service of a whole fleet: it asks nodes for credentials, keeps those
// that all clients share, and picks who is asked.
package gateway
