package probe

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

// passedOn is what the next image of a process gets of a verdict.
func passedOn(t *testing.T, r Result) (got Result) {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{pid: 7, others: []Transport{TCP, TLS}, alloc: quota}
		p := w.prober(usual)
		run(t, p)
		after(5 * time.Second)
		before := p.Last()
		if !before.Serving || !before.Full || len(before.Answers) != 3 {
			t.Fatalf("verdict %+v", before)
		}

		// The next image begins with the verdict, and probes at once.
		next := &world{pid: 7, others: []Transport{TCP, TLS}, bind: silent}
		q := next.prober(usual)
		q.Restore(passedOn(t, before))
		if got, want := passedOn(t, q.Last()), passedOn(t, before); got.news(want) {
			t.Errorf("before Run: %+v, want %+v", got, want)
		}
		run(t, q)
		if got := q.Last(); !got.Serving || !got.Full || got.Failures != 1 || !got.Since.Equal(before.Since) {
			t.Errorf("after one bad round: %+v", got)
		}
	})
}

// Another version of us may probe other transports; the verdict on the run stands.
func TestResumeWithOtherListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{pid: 7, others: []Transport{TCP}}
		p := w.prober(usual)
		run(t, p)
		after(5 * time.Second)
		next := &world{pid: 7, others: []Transport{TLS}, bind: silent}
		q := next.prober(usual)
		q.Restore(passedOn(t, p.Last()))
		run(t, q)
		got := q.Last()
		if !got.Serving || len(got.Answers) != 2 || got.Answers[1].Transport != TLS || !got.Answers[1].OK() {
			t.Errorf("verdict %+v", got)
		}
	})
}

// The verdict on another child says nothing of this one.
func TestResumeWithAnotherChild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{pid: 7, bind: silent}
		p := w.prober(usual)
		p.Restore(Result{PID: 6, Serving: true, Served: true})
		run(t, p)
		if got := p.Last(); got.PID != 7 || got.Serving || got.Served {
			t.Errorf("verdict %+v", got)
		}
	})
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{pid: 7, hang: true}
		p := w.prober(usual)
		run(t, p)
		begin := time.Now()
		resume, err := p.Pause(t.Context())
		if took := time.Since(begin); err != nil || took == 0 || took%usual.Timeout != 0 {
			t.Fatalf("paused %v after it was asked to, %v; want the end of a round of %v", took, err, usual.Timeout)
		}
		rounds := w.count()
		p.Kick()
		after(time.Minute)
		if got := w.count(); got != rounds {
			t.Errorf("%d rounds in a pause", got-rounds)
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Pause(impatient); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a second pause: %v, want %v", err, context.DeadlineExceeded)
		}
		w.change(func(w *world) { w.hang = false })
		resume()
		after(0)
		if w.count() == rounds || !p.Last().Serving {
			t.Errorf("%d rounds after the pause, verdict %+v", w.count()-rounds, p.Last())
		}
	})
}

func TestEndInPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := (&world{pid: 7}).prober(usual)
		run(t, p) // whose end waits for Run
		if _, err := p.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestResultIsPassedOnWhole(t *testing.T) {
	now := time.Now().Round(0).UTC()
	want := Result{
		PID: 1, Since: now, At: now, Serving: true, Served: true, Authenticated: true, OpenRelay: true, Full: true, FullCode: 486,
		Foreign: "f", Failures: 2, Stage: "s", Code: 401, Err: "e", Futile: true, Others: 1, RTT: time.Second, Misadvertised: "m",
		Answers: []Answer{{
			Transport: TLS, At: now, Outcomes: []Outcome{{Stage: "s", OK: true}}, Failures: 1, Failing: true, Err: "e",
			Certificate: Certificate{NotBefore: now, NotAfter: now},
		}},
	}
	for i := range reflect.TypeFor[Result]().NumField() {
		if reflect.ValueOf(want).Field(i).IsZero() {
			t.Errorf("%s is not tested", reflect.TypeFor[Result]().Field(i).Name)
		}
	}
	if got := passedOn(t, want); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
