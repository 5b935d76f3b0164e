package coturn

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Session is an allocation, as coturn's CLI shows it.
type Session struct {
	ID         string // what Cancel takes; unique until turnserver restarts
	Username   string
	Realm      string
	Started    time.Time // to the second; zero if coturn does not know
	Protocol   string    // of the client: UDP, TCP, TLS/TCP, DTLS
	ClientAddr string
	RelayAddrs []string // one, or an IPv4 and an IPv6 one
	Usage      Usage    // with the client; coturn brings it up to date every 4096 packets
}

// sessionList reads what the command ps prints.
type sessionList struct {
	now      time.Time
	sessions []Session
	total    string // as coturn counts them; "" until that line
}

// add reads one line. A line it does not know may be one of a later release; that
// none of them was a session is what complete proves.
func (l *sessionList) add(line string) error {
	text := strings.TrimLeft(line, " ")
	if number, rest, ok := strings.Cut(text, ") id="); ok && number == strconv.Itoa(len(l.sessions)+1) {
		id, name, _ := strings.Cut(rest, ", user <")
		name, ok := strings.CutSuffix(name, ">:")
		if !ok || !isSessionID(id) {
			return fmt.Errorf("cannot read the session %q", line)
		}
		l.sessions = append(l.sessions, Session{ID: id, Username: name})
		return nil
	}
	if total, ok := strings.CutPrefix(text, "Total sessions: "); ok {
		l.total = total
		return nil
	}
	if len(l.sessions) > 0 {
		l.sessions[len(l.sessions)-1].add(text, l.now)
	}
	return nil
}

func (s *Session) add(text string, now time.Time) {
	word := func(after string) (string, bool) {
		rest, ok := strings.CutPrefix(text, after)
		first, _, _ := strings.Cut(rest, " ")
		return strings.TrimSuffix(first, ","), ok
	}
	if realm, ok := strings.CutPrefix(text, "realm: "); ok {
		s.Realm = realm
	} else if age, ok := word("started "); ok {
		if seconds, err := strconv.ParseUint(age, 10, 32); err == nil {
			s.Started = now.Add(-time.Duration(seconds) * time.Second)
		}
	} else if protocol, ok := word("client protocol "); ok {
		s.Protocol = protocol
	} else if addr, ok := word("client addr "); ok {
		s.ClientAddr = addr
	} else if addr, ok := word("relay addr "); ok {
		s.RelayAddrs = append(s.RelayAddrs, addr)
	} else if usage, ok := strings.CutPrefix(text, "usage: "); ok {
		u := &s.Usage
		// What cannot be read stays 0: nothing but a display depends on it.
		_, _ = fmt.Sscanf(usage, "rp=%d, rb=%d, sp=%d, sb=%d", &u.ReceivedPackets, &u.ReceivedBytes, &u.SentPackets, &u.SentBytes)
	}
}

// cut says that coturn counted more sessions than it printed.
func (l *sessionList) cut() bool {
	total, err := strconv.Atoi(l.total)
	return err == nil && total > len(l.sessions)
}

// complete reports an error unless these are all sessions of the user: beyond
// cli-max-output-sessions coturn goes on counting, and prints no more of them.
func (l *sessionList) complete(username string) error {
	if l.total == "" {
		return errors.New("coturn printed no total: this release of coturn is not known, set coturn.cli to false")
	}
	if n := strconv.Itoa(len(l.sessions)); l.total != n {
		return fmt.Errorf("coturn printed %s of %s sessions: its cli-max-output-sessions was lowered, or this release of coturn is not known", n, l.total)
	}
	for _, s := range l.sessions {
		if username != "" && s.Username != username {
			return errors.New("coturn printed a session of another user than it was asked for")
		}
	}
	return nil
}

func isSessionID(id string) bool {
	return id != "" && len(id) <= 20 && strings.Trim(id, "0123456789") == ""
}
