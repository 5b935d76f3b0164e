package userdb

import (
	"fmt"
	"strings"
)

// CheckUser says whether a Put of both could be tried. Its error quotes neither.
func CheckUser(username, password string) error {
	if err := CheckName(username); err != nil {
		return err
	}
	return checkLogin("password", password)
}

// CheckName says whether a Delete of that user could be tried.
func CheckName(username string) error { return checkLogin("username", username) }

// CheckWord accepts for the name and the value of a secret what every version of
// coturn, sqlite3's GLOB and we take literally. It never quotes s, which may be secret.
func CheckWord(what, s string) error {
	const accepted = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
	if s == "" || len(s) > 128 || s[0] == '-' || strings.Trim(s, accepted) != "" {
		return fmt.Errorf("%s refused: 1 to 128 of A-Z a-z 0-9 _ . - are accepted, not starting with -", what)
	}
	return nil
}

// checkLogin accepts for a username and a password what every version of coturn takes
// literally: others are refused, cut, or taken for an option. Ours are plainer, those
// that other programs have made are what they are. It never quotes s.
func checkLogin(what, s string) error {
	outside := func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune("'\"`\\", c) }
	if s == "" || len(s) > 128 || s[0] == '-' || strings.ContainsFunc(s, outside) {
		return fmt.Errorf("%s refused: 1 to 128 printable characters of ASCII are accepted, no blank, quote or backslash among them, not starting with -", what)
	}
	return nil
}
