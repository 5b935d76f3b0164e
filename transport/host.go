package transport

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Hosts are the names that a request may come for where nobody has to show who he is. A web
// page can have any name lead here, once its visitor has loaded it, and reads the answer then
// as its own (DNS rebinding): Host is what gives it away. An address cannot be made to lead
// elsewhere.
type Hosts struct {
	Names []string // besides localhost
	Over  *TLS     // whose certificate's names count, too; nil = none
}

// has says whether a request for this Host was meant for us.
func (h *Hosts) has(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil || host == "localhost" || host == "" { // HTTP/1.0 needs none, and browsers send it
		return true
	}
	for _, name := range h.Names {
		if strings.EqualFold(strings.TrimSuffix(name, "."), host) {
			return true
		}
	}
	return h.Over != nil && h.Over.names(host)
}

// misdirected refuses requests that were meant for somebody else, unless a certificate says
// who sends them.
func (g *guard) misdirected(next http.Handler, refuse refusal) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 || g.Hosts.has(r.Host) {
			next.ServeHTTP(w, r)
			return
		}
		refuse(keepAccept(r.Context(), r), w, http.StatusMisdirectedRequest,
			fmt.Sprintf("Host is %.100q; accepted: addresses, localhost, registry.advertise, the names of the certificate, and those in api.hosts", r.Host))
	})
}
