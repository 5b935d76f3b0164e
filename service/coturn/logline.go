package coturn

import (
	"bytes"
	"log/slog"
)

// Kind says what a log line of turnserver reports.
type Kind uint8

// Those that clients cause come last: see PerClient.
const (
	KindOther          Kind = iota
	KindListening           // a listener is open
	KindSession             // something else about one client
	KindNew                 // an allocation was made
	KindRefreshed           // an allocation was refreshed
	KindReleased            // an allocation was given up by its client, with lifetime 0
	KindDeleted             // an allocation ended; a second after it was released
	KindClosed              // a 5-tuple ended, with an allocation or without
	KindUsage               // client traffic since the last such line of the session
	KindPeerUsage           // relayed payload since the last such line of the session
	KindRefused             // an answer with an error code
	KindChallenge           // the 401 that a client gets first, to learn realm and nonce
	KindUnknownUser         // no such user, or no longer; also when the userdb cannot be read
	KindWrongPassword       // the message integrity does not fit
	KindWrongUsername       // a name with characters that coturn refuses
	KindPortsExhausted      // no free relay port: the client gets a 508
	KindBindFailed          // a port could not be bound: 65,535 lines per Allocate if the relay address is wrong

	kinds // how many there are
)

// PerClient reports that clients decide how many such lines there are: count
// them, and log them at debug only.
func (k Kind) PerClient() bool { return k > KindListening }

// Line is what one line of turnserver's log says. It is no evidence: up to
// coturn 4.7 anybody can send a USERNAME with a newline and a whole line after
// it, and no parser can tell that line from a true one. So
//   - no line alone may restart, unlist or revoke anything;
//   - what is counted from lines is bounded, and compared with what clients
//     cannot write: the CLI and the relay sockets;
//   - Message is escaped wherever it is printed.
type Line struct {
	Level   slog.Level // Info where the line names none
	Message []byte     // without the prefix; part of the line that was parsed
	Kind    Kind
	Session uint64 // 0 if the line names none
	Code    int    // of KindRefused and KindChallenge
	Usage   Usage  // of KindUsage and KindPeerUsage
	Remote  []byte // of KindClosed: the client's address; part of the line that was parsed
}

// Usage counts what was received from one side of a session and sent to it.
type Usage struct {
	ReceivedPackets, ReceivedBytes, SentPackets, SentBytes uint64
}

// ParseLine reads one line, with or without its line end, of any coturn from
// 4.5.2 to 4.18. It allocates nothing, because turnserver stops serving when its
// lines are not taken off the pipe, and can write 60,000 of them a second.
func ParseLine(line []byte) Line {
	message, level, ok := cutPrefix(bytes.TrimRight(line, "\r\n"))
	l := Line{Level: level, Message: message}
	if ok {
		l.classify()
	}
	return l
}

func (l *Line) classify() {
	text := l.Message
	if id, rest, ok := cutSession(text); ok {
		l.Session, l.Kind, text = id, KindSession, rest
		if l.classifySession(rest) {
			return
		}
	} else if id, rest, ok := cutSessionSuffix(text); ok {
		l.Session, l.Kind, text = id, KindSession, rest
		if l.classifySession(cutAllocation(rest)) {
			return
		}
	}
	switch {
	case hasPrefix(text, "Trying to bind fd ") && contains(text, ": errno="):
		l.Kind = KindBindFailed
	case hasPrefix(text, "check_stun_auth: "):
		l.classifyAuth(text[len("check_stun_auth: "):])
	case l.classifyAuth(text): // from 4.18
	case hasPrefix(text, "create_relay_ioa_sockets: no available ports"):
		l.Kind = KindPortsExhausted
	case hasPrefix(text, "IPv4. "), hasPrefix(text, "IPv6. "):
		switch text = text[len("IPv4. "):]; {
		case hasPrefix(text, "Local "), hasPrefix(text, "tcp or tls connected to: "),
			hasPrefix(text, "CLI connected to: "), hasPrefix(text, "CLI authentication success: "), hasPrefix(text, "CLI session disconnected from: "): // which is us
			l.Kind = KindSession
		case contains(text, " listener opened on"):
			l.Kind = KindListening
		}
	case l.Kind == KindOther && aboutClient(text):
		l.Kind = KindSession
	}
}

func (l *Line) classifyAuth(text []byte) bool {
	switch {
	case hasPrefix(text, "Cannot find credentials of user <"):
		l.Kind = KindUnknownUser
	case hasPrefix(text, "user ") && hasSuffix(text, " credentials are incorrect"):
		l.Kind = KindWrongPassword
	// With use-auth-secret, 4.18 says which of the two it was that earlier ones cannot find.
	case hasPrefix(text, "credentials of user <") && contains(text, "> have expired ("):
		l.Kind = KindUnknownUser
	case hasPrefix(text, "credentials of user <") && contains(text, "> are wrong ("):
		l.Kind = KindWrongPassword
	case hasPrefix(text, "wrong username: "):
		l.Kind = KindWrongUsername
	default:
		return false
	}
	return true
}

// aboutClient reports whether a line that is not understood tells of a client: what a
// release of tomorrow writes of each of them must not fill our log, nor name its users.
// Lines of turnserver itself have none of these words (4.5.2 to 4.18).
func aboutClient(text []byte) bool {
	for _, word := range [...]string{
		"session ", "user <", "user=<", "username", "realm <", "realm=<", "credentials of ", "credentials are ",
		" packet ", "UDP packet", "peer ", "peer-endpoint", "client ", "remote ", "connect from ", "connection input",
		"rate-limit exceeded", "rate-limit bucket", "hmackey", "socket closed",
	} {
		if contains(text, word) {
			return true
		}
	}
	return false
}

// classifySession knows what follows "session 000000000000000001: " or precedes
// " (session 000000000000000001)". Numbers are looked for from the right, where
// clients do not write.
func (l *Line) classifySession(text []byte) bool {
	kind := KindOther
	switch {
	case hasPrefix(text, "realm <"), hasPrefix(text, "origin <"):
		kind = l.answer(text)
	case hasPrefix(text, "usage: realm=<"):
		kind = l.usage(text, KindUsage)
	case hasPrefix(text, "peer usage: realm=<"):
		kind = l.usage(text, KindPeerUsage)
	case hasPrefix(text, "new, realm=<"):
		if _, ok := lifetime(text); ok {
			kind = KindNew
		}
	case hasPrefix(text, "refreshed, realm=<"):
		if seconds, ok := lifetime(text); ok && seconds == 0 {
			kind = KindReleased
		} else if ok {
			kind = KindRefreshed
		}
	case hasPrefix(text, "delete: realm=<") && hasSuffix(text, ">"):
		kind = KindDeleted
	case hasPrefix(text, "closed ("):
		kind = l.closed(text)
	}
	if kind == KindOther {
		return false
	}
	l.Kind = kind
	return true
}

// answer reads "… user <…>: incoming packet message processed, error 486: …".
// The same error is logged for "packet ALLOCATE" too if the method was
// recognised: only the "message" line is always there.
func (l *Line) answer(text []byte) Kind {
	const packet = ">: incoming packet message processed, error "
	i := bytes.LastIndex(text, []byte(packet))
	if i < 0 {
		return KindSession
	}
	code := text[i+len(packet):]
	if !like(code, "000: ") || code[0] < '3' || code[0] > '6' { // RFC 8489 section 14.8
		return KindSession
	}
	l.Code = int(code[0]-'0')*100 + int(code[1]-'0')*10 + int(code[2]-'0')
	if l.Code == 401 && hasSuffix(text[:i], " user <") {
		return KindChallenge
	}
	return KindRefused
}

// usage reads "…, rp=61, rb=6420, sp=61, sb=6124".
func (l *Line) usage(text []byte, kind Kind) Kind {
	i := bytes.LastIndex(text, []byte(">, rp="))
	if i < 0 {
		return KindSession
	}
	var u Usage
	rest := text[i+1:]
	for _, field := range [...]struct {
		name  string
		value *uint64
	}{
		{", rp=", &u.ReceivedPackets}, {", rb=", &u.ReceivedBytes}, {", sp=", &u.SentPackets}, {", sb=", &u.SentBytes},
	} {
		if !hasPrefix(rest, field.name) {
			return KindSession
		}
		var ok bool
		if *field.value, rest, ok = cutNumber(rest[len(field.name):]); !ok {
			return KindSession
		}
	}
	if len(rest) != 0 {
		return KindSession
	}
	l.Usage = u
	return kind
}

// closed reads "…, remote 127.0.0.1:58467, reason: allocation timeout".
func (l *Line) closed(text []byte) Kind {
	i, end := bytes.LastIndex(text, []byte(", remote ")), bytes.LastIndex(text, []byte(", reason: "))
	if i < 0 || end < i+len(", remote ") {
		return KindSession
	}
	l.Remote = text[i+len(", remote ") : end]
	return KindClosed
}

// lifetime reads ">, lifetime=600", which may be followed by ", cipher=…".
func lifetime(text []byte) (seconds uint64, ok bool) {
	const key = ">, lifetime="
	i := bytes.LastIndex(text, []byte(key))
	if i < 0 {
		return 0, false
	}
	seconds, rest, ok := cutNumber(text[i+len(key):])
	return seconds, ok && (len(rest) == 0 || hasPrefix(rest, ", cipher="))
}
