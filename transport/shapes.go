package transport

import (
	"errors"
	"strconv"
	"time"

	"github.com/turnwarden/turnwarden/service"
)

// A shape appends a credential as some kind of client reads it.
type shape func(b []byte, c service.Credential, now time.Time) []byte

// formats are what ?format= takes, in the order in which an error names them.
var formats = []struct {
	name  string
	shape shape
}{{"ice", rtcConfiguration}, {"array", iceServers}, {"turn", draft}}

// errNoURIs says that a shape that names servers has none to name.
var errNoURIs = errors.New("no address to give to clients; set listening-ip or external-ip in turnserver.conf")

// seed is the reply that clients of GET /turncredential have always parsed, down to
// its blanks: five keys, the expiry in milliseconds since the epoch.
func seed(b []byte, c service.Credential, _ time.Time) []byte {
	b = append(b, `{ "type" : "result", "code" : "ok", "userid" : `...)
	b = appendString(b, c.Username)
	b = append(b, `, "password" : `...)
	b = appendString(b, c.Password.Reveal())
	b = append(b, `, "expired_time" : `...)
	b = strconv.AppendInt(b, c.Expires.UnixMilli(), 10)
	return append(b, " }"...)
}

// seedOfFleet is the seed's reply with the servers, as sixth key: who asks a gateway
// did not choose the server.
func seedOfFleet(b []byte, c service.Credential, now time.Time) []byte {
	b = seed(b, c, now)
	b = append(b[:len(b)-len(" }")], `, "uris" : [ `...)
	b = appendStrings(b, c.URIs, ", ")
	return append(b, " ] }"...)
}

// draft is the reply of draft-uberti-behave-turn-rest-00, section 2.2.
func draft(b []byte, c service.Credential, now time.Time) []byte {
	b = append(b, `{"username":`...)
	b = appendString(b, c.Username)
	b = append(b, `,"password":`...)
	b = appendString(b, c.Password.Reveal())
	b = append(b, `,"ttl":`...)
	b = appendTTL(b, c, now)
	b = append(b, `,"uris":[`...)
	b = appendStrings(b, c.URIs, ",")
	return append(b, `]}`...)
}

// rtcConfiguration is what new RTCPeerConnection() takes as it is; a browser passes
// over the ttl.
func rtcConfiguration(b []byte, c service.Credential, now time.Time) []byte {
	b = append(b, `{"iceServers":`...)
	b = iceServers(b, c, now)
	b = append(b, `,"ttl":`...)
	b = appendTTL(b, c, now)
	return append(b, '}')
}

// iceServers is a list of one RTCIceServer.
func iceServers(b []byte, c service.Credential, _ time.Time) []byte {
	b = append(b, `[{"urls":[`...)
	b = appendStrings(b, c.URIs, ",")
	b = append(b, `],"username":`...)
	b = appendString(b, c.Username)
	b = append(b, `,"credential":`...)
	b = appendString(b, c.Password.Reveal())
	return append(b, `}]`...)
}

// seedError is the seed's envelope for a request that cannot be answered.
func seedError(b []byte, message string) []byte {
	b = append(b, `{ "type" : "result", "code" : "error", "message" : `...)
	b = appendString(b, message)
	return append(b, " }"...)
}

// appendTTL appends whole seconds, rounded down: not one of them is beyond the time
// that rotation leaves the credential.
func appendTTL(b []byte, c service.Credential, now time.Time) []byte {
	return strconv.AppendInt(b, int64(max(0, c.Expires.Sub(now))/time.Second), 10)
}
