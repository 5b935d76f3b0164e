package coturn

import (
	"bytes"
	"log/slog"
	"math"
)

// cutPrefix takes off the time, the thread and the level, in all the ways in
// which coturn has written them:
//
//	12: : session …                                         4.5, 4.6.1
//	12: : ERROR: check_stun_auth: …
//	2026-11-22T16:05:17+0000: ERROR: check_stun_auth: …     with new-log-timestamp
//	12: (9613): INFO: session …                             4.6.2 to 4.16
//	2026-11-22T16:05:22+0000(9613): INFO: session …
//	2026-11-22T16:05:26.533+0000 INFO session …             from 4.17
//	2026-11-22T16:05:26.533+0000 INFO … (session …)         from 4.18
//	12 INFO session …
//
// A line without any is a further line of a banner.
func cutPrefix(line []byte) (message []byte, level slog.Level, ok bool) {
	rest, ok := cutTime(line)
	if !ok {
		return line, slog.LevelInfo, false
	}
	if hasPrefix(rest, " ") {
		if message, level, ok = cutLevel(rest[1:], " "); !ok {
			return line, slog.LevelInfo, false
		}
		return message, level, true
	}
	colon := hasPrefix(rest, ": ")
	if colon {
		rest = rest[len(": "):]
	}
	thread := 0
	if hasPrefix(rest, "(") {
		thread = 1 + digits(rest[1:])
	}
	switch {
	case hasPrefix(rest[thread:], "): "):
		rest = rest[thread+len("): "):]
	case !colon:
		return line, slog.LevelInfo, false
	case hasPrefix(rest, ": "):
		rest = rest[len(": "):]
	}
	if message, level, ok = cutLevel(rest, ": "); ok {
		return message, level, true
	}
	return rest, slog.LevelInfo, true
}

func cutLevel(text []byte, separator string) ([]byte, slog.Level, bool) {
	for _, tag := range [...]struct {
		name  string
		level slog.Level
	}{
		{"INFO", slog.LevelInfo},
		{"ERROR", slog.LevelError},
		{"WARNING", slog.LevelWarn},
		{"DEBUG", slog.LevelDebug},
		{"CONTROL", slog.LevelInfo},
	} {
		if hasPrefix(text, tag.name) && hasPrefix(text[len(tag.name):], separator) {
			return text[len(tag.name)+len(separator):], tag.level, true
		}
	}
	return text, slog.LevelInfo, false
}

// cutTime takes off the seconds since the start, or a time of day.
func cutTime(line []byte) (rest []byte, ok bool) {
	const iso = "0000-00-00T00:00:00"
	if !like(line, iso) {
		n := digits(line)
		return line[n:], n > 0
	}
	rest = line[len(iso):]
	if hasPrefix(rest, ".") {
		rest = rest[1+digits(rest[1:]):]
	}
	if !like(rest, "+0000") && !like(rest, "-0000") {
		return line, false
	}
	return rest[len("+0000"):], true
}

// cutSession takes off "session 001000000000000002: ": three digits for the
// relay thread, the rest counts up in it.
func cutSession(text []byte) (id uint64, rest []byte, ok bool) {
	const session = "session "
	if !hasPrefix(text, session) {
		return 0, text, false
	}
	id, rest, ok = cutNumber(text[len(session):])
	if !ok || len(text)-len(session)-len(rest) < 18 || !hasPrefix(rest, ": ") {
		return 0, text, false
	}
	return id, rest[len(": "):], true
}

// cutSessionSuffix takes off " (session 001000000000000002)", with which coturn ends
// its lines from 4.18 on. The function or the kind of socket may be in the brackets, too:
// "(session 001000000000000002, check_stun_auth)", "(TCP socket, session 001000000000000002)".
// A client's text may look the same, but is never the last.
func cutSessionSuffix(text []byte) (id uint64, rest []byte, ok bool) {
	const socket, session = " socket, ", "session "
	start := bytes.LastIndexByte(text, '(') - 1
	if start < 0 || text[start] != ' ' || !hasSuffix(text, ")") {
		return 0, text, false
	}
	inside := text[start+len(" (") : len(text)-1]
	if i := bytes.Index(inside, []byte(socket)); i >= 0 {
		inside = inside[i+len(socket):]
	}
	if !hasPrefix(inside, session) {
		return 0, text, false
	}
	number := inside[len(session):]
	id, after, ok := cutNumber(number)
	if !ok || len(number)-len(after) < 18 || len(after) > 0 && !hasPrefix(after, ", ") {
		return 0, text, false
	}
	return id, text[:start], true
}

// cutAllocation takes off the word with which 4.18 begins what earlier ones begin
// with "new, ", "refreshed, " and "delete: ".
func cutAllocation(text []byte) []byte {
	return bytes.TrimPrefix(text, []byte("allocation "))
}

// cutNumber takes off a decimal number that fits.
func cutNumber(text []byte) (n uint64, rest []byte, ok bool) {
	end := digits(text)
	for _, c := range text[:end] {
		if n > (math.MaxUint64-9)/10 {
			return 0, text, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, text[end:], end > 0
}

func digits(text []byte) int {
	for i, c := range text {
		if c < '0' || c > '9' {
			return i
		}
	}
	return len(text)
}

// like reports whether text begins with the pattern, in which 0 is any digit.
func like(text []byte, pattern string) bool {
	if len(text) < len(pattern) {
		return false
	}
	for i, p := range []byte(pattern) {
		if digit := text[i] >= '0' && text[i] <= '9'; p == '0' && !digit || p != '0' && text[i] != p {
			return false
		}
	}
	return true
}

// The functions of package bytes take a []byte where a constant is at hand.
func hasPrefix(text []byte, prefix string) bool { return bytes.HasPrefix(text, []byte(prefix)) }
func hasSuffix(text []byte, suffix string) bool { return bytes.HasSuffix(text, []byte(suffix)) }
func contains(text []byte, part string) bool    { return bytes.Contains(text, []byte(part)) }
