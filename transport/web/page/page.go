package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"strings"
	"time"
)

// Tone is how good or bad something is. It comes as a shape and a word as well, for
// not everybody sees colours.
type Tone string

// The tones.
const (
	Plain Tone = ""
	Good  Tone = "good"
	Warn  Tone = "warn"
	Bad   Tone = "bad"
)

// Page is what is shown.
type Page struct {
	Kind     string // of thing, as "TURN node"
	Name     string // of this one
	Tone     Tone
	Headline string
	Reasons  []string // behind the headline
	Sections []Section
	Links    []Link
	Version  string
}

// Section is one card. ID is its anchor; sections come and go only with a new version.
type Section struct {
	ID, Title string
	Chart     *Chart
	Facts     []Fact
	Table     *Table
	Lines     []Line
	Empty     string // said in place of a table or lines that have no entries
	Wide      bool   // takes a row of its own
}

// Fact is a name and a value.
type Fact struct {
	Name string
	Cell
}

// Cell is a text with a tone. Where the text is an age, At is the moment.
type Cell struct {
	Text   string
	Tone   Tone
	At     time.Time
	Detail string // below the text
	Bar    *Bar   // above it
}

// Bar is a part of a whole.
type Bar struct{ Part, Whole float64 }

// Filled is how much of a hundred the part is. Where there is anything, it shows.
func (b Bar) Filled() float64 {
	if b.Part <= 0 {
		return 0
	}
	return max(2, math.Round(100*b.Part/max(b.Part, b.Whole)))
}

// Table has a cell for each of its columns in each row.
type Table struct {
	Caption string
	Columns []string
	Rows    [][]Cell
}

// Many says that the columns are more than stand side by side on a phone.
func (t *Table) Many() bool { return len(t.Columns) > 5 }

// Line is one thing that happened.
type Line struct {
	At     Cell
	Tone   Tone
	Source string
	Text   string
	Detail string
}

// Link leads to another page of the same listener.
type Link struct{ Path, Text string }

//go:embed page.html
var layout string

//go:embed page.css
var style string

//go:embed page.js
var script string

// templates are the page ("page") and what changes on it ("main").
func templates() *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{
		"style":  func() template.CSS { return template.CSS(style) },
		"script": func() template.JS { return template.JS(script) },
		"stamp":  func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"word":   Tone.word,
		"shape":  Tone.shape,
	}).Parse(layout))
}

// Weight sorts what is in trouble before what is not.
func (t Tone) Weight() int {
	return map[Tone]int{Bad: -2, Warn: -1}[t]
}

// word is for those to whom the page is read out. What is good needs none.
func (t Tone) word() string {
	return map[Tone]string{Warn: "attention", Bad: "trouble"}[t]
}

func (t Tone) shape() string {
	return map[Tone]string{Good: "●", Warn: "▲", Bad: "■"}[t]
}

// policy lets the page run its own script and style and nothing else, whatever
// somebody should manage to put into a text of it.
func policy() string {
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return strings.Join([]string{
		"default-src 'none'", "script-src " + hash(script), "style-src " + hash(style), "connect-src 'self'", "img-src data:",
		"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
	}, "; ")
}

// View serves the page as build has it at each request.
func View(build func() Page) http.Handler {
	all, csp := templates(), policy()
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var b bytes.Buffer
		if err := all.ExecuteTemplate(&b, "page", build()); err != nil {
			http.Error(w, fmt.Sprintf("render the page: %v", err), http.StatusInternalServerError)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", csp)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		_, _ = w.Write(b.Bytes()) // the viewer has gone; there is nobody to tell
	})
}
