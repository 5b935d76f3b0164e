package transport

import (
	"encoding/json"
	"strconv"

	"github.com/turnwarden/turnwarden/service"
)

// seedCredential appends the reply that clients of GET /turncredential have
// always parsed, down to its blanks: five keys, the expiry in milliseconds since
// the epoch.
func seedCredential(b []byte, c service.Credential) []byte {
	b = append(b, `{ "type" : "result", "code" : "ok", "userid" : `...)
	b = appendString(b, c.Username)
	b = append(b, `, "password" : `...)
	b = appendString(b, c.Password.Reveal())
	b = append(b, `, "expired_time" : `...)
	b = strconv.AppendInt(b, c.Expires.UnixMilli(), 10)
	return append(b, " }"...)
}

// seedError appends the same envelope for a request that cannot be answered.
func seedError(b []byte, message string) []byte {
	b = append(b, `{ "type" : "result", "code" : "error", "message" : `...)
	b = appendString(b, message)
	return append(b, " }"...)
}

func appendString(b []byte, s string) []byte {
	quoted, _ := json.Marshal(s) // a string always marshals
	return append(b, quoted...)
}
