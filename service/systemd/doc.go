// Package systemd passes the TURN ports of a host from the distribution's own
// coturn.service to turnwarden.service, once somebody has said so, and back if
// turnwarden cannot serve. Debian's package of coturn enables and starts that service,
// and starts it again with each upgrade: only a masked one stays down.
package systemd
