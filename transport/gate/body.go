package gate

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	// maxBody is what the body of a request may have. No route takes more.
	maxBody = 4 << 10
	// bodyPatience is how long it may take to come after the header.
	bodyPatience = 500 * time.Millisecond
)

// bodies reads the body of each request before anybody is asked who he is, for net/http waits
// for one that nobody reads until the request's time is over, and the connection counts as
// busy as long. Whose does not come is answered without it, and hung up on.
func bodies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 && r.ProtoMajor == 1 { // HTTP/2 waits for nobody
			bring(w, r)
		}
		next.ServeHTTP(w, r)
	})
}

// bring replaces the body by what has come of it.
func bring(w http.ResponseWriter, r *http.Request) {
	var came bytes.Buffer
	err := errUnread
	conn := http.NewResponseController(w)
	if r.Header.Get("Expect") == "" && r.ContentLength <= maxBody {
		_ = conn.SetReadDeadline(time.Now().Add(bodyPatience))
		_, err = io.Copy(&came, io.LimitReader(r.Body, maxBody+1))
	}
	if err == nil && came.Len() <= maxBody {
		_ = conn.SetReadDeadline(time.Time{}) // the server sets another for the next request
		r.Body = io.NopCloser(&came)
		return
	}
	w.Header().Set("Connection", "close")
	_ = conn.SetReadDeadline(time.Unix(1, 0)) // or the server would wait for the rest of it
	r.Body = io.NopCloser(io.MultiReader(&came, failing{}))
}

var errUnread = errors.New("the body is too long, or did not come within half a second")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errUnread }
