package directory

// Vanish loses the connection without a word, as an exec does.
func (s *Session) Vanish() {
	s.mu.Lock()
	l := s.link
	s.mu.Unlock()
	l.abort()
}
