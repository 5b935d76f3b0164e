package probe

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

// A run is probed fast until its first good answer, then at the interval.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{bind: silent}
		p := w.prober(usual)
		run(t, p)
		if got := p.Last(); !reflect.DeepEqual(got, Result{}) || w.count() != 0 {
			t.Fatalf("without a child: got %+v after %d rounds", got, w.count())
		}
		after(time.Second)
		w.change(func(w *world) { w.pid = 1 })
		p.Kick()
		after(70 * time.Millisecond)
		if got := summary(p.Last()); w.count() != 3 || got != "starting failures=3 bind" {
			t.Fatalf("70ms after the start: %d rounds, %q", w.count(), got)
		}
		w.change(func(w *world) { w.bind = nil })
		after(60 * time.Millisecond)
		if got := p.Last(); !got.Serving || w.count() != 4 {
			t.Fatalf("60ms after it listens: %d rounds, %+v", w.count(), got)
		}
		p.Kick() // of the same run: no reason for a probe
		after(4 * time.Second)
		if w.count() != 4 {
			t.Errorf("rounds within the interval: got %d, want none", w.count()-4)
		}
		after(time.Minute)
		if w.count() != 4+12 {
			t.Errorf("rounds in a minute: got %d, want 12", w.count()-4)
		}
	})
}

// One that never answers is not hammered.
func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{pid: 1, bind: silent}
		p := w.prober(usual)
		run(t, p)
		after(time.Minute)
		if got := p.Last(); w.count() < 20 || w.count() > 30 || got.Served || got.Serving || time.Since(got.Since) != time.Minute {
			t.Errorf("after a minute: %d rounds, want 20 to 30, %+v", w.count(), got)
		}
	})
}

func TestHangIsNoticedWithinTheBound(t *testing.T) {
	for name, cfg := range map[string]Config{
		"usual":        usual,
		"long timeout": {Interval: time.Second, Timeout: 5 * time.Second, FailAfter: 3},
		"first":        {Interval: time.Second, Timeout: 100 * time.Millisecond, FailAfter: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{pid: 1}
				p := w.prober(cfg)
				run(t, p)
				// The worst moment: a round has just been good.
				after(10 * cfg.Interval)
				w.change(func(w *world) { w.hang = true })
				after(cfg.Interval*time.Duration(cfg.FailAfter) + cfg.Timeout)
				if got := p.Last(); got.Serving {
					t.Errorf("hung for interval*fail_after+timeout: %+v", got)
				}
			})
		})
	}
}

// A listener that hangs costs nobody else anything: neither a server that hangs
// later, nor one that starts.
func TestHungListenerDelaysNothing(t *testing.T) {
	for name, cfg := range map[string]Config{
		"usual":        usual,
		"long timeout": {Interval: time.Second, Timeout: 5 * time.Second, FailAfter: 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{pid: 1, others: []Transport{TCP, TLS}, sideHang: true}
				p := w.prober(cfg)
				run(t, p)
				if got := summary(p.Last()); got != "serving authenticated" {
					t.Errorf("at once: got %q", got)
				}
				after(10*cfg.Interval - time.Nanosecond)
				if got := p.Last(); w.count() != 10 || !got.Serving || !got.Answers[1].Failing || !got.Answers[2].Failing {
					t.Errorf("after ten intervals: got %d rounds, %+v", w.count(), got)
				}
				w.change(func(w *world) { w.hang = true })
				after(cfg.Interval*time.Duration(cfg.FailAfter) + cfg.Timeout)
				if got := p.Last(); got.Serving {
					t.Errorf("hung for interval*fail_after+timeout: %+v", got)
				}
			})
		})
	}
}

// A server that waits for a processor is given as many rounds again, and no more: what
// waits may be another thread than the one that hangs.
func TestStarvedServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{pid: 1}
		p := w.prober(usual)
		run(t, p)
		for range 3 { // an answer makes up for all
			w.change(func(w *world) { w.bind, w.starving = silent, 600*time.Millisecond })
			after(time.Duration(usual.FailAfter) * usual.Interval)
			if got := p.Last(); !got.Serving || got.Failures != 0 {
				t.Fatalf("starved: %+v", got)
			}
			w.change(func(w *world) { w.bind = nil })
			after(usual.Interval)
		}
		w.change(func(w *world) { w.bind, w.starving = silent, 400*time.Millisecond })
		after(usual.Interval)
		if got := p.Last(); got.Failures != 1 {
			t.Errorf("a short wait: %+v", got)
		}
		w.change(func(w *world) { w.bind = nil })
		after(usual.Interval)
		w.change(func(w *world) { w.bind, w.starving = silent, 600*time.Millisecond })
		after(time.Duration(2*usual.FailAfter-1) * usual.Interval)
		if got := p.Last(); !got.Serving || got.Failures != usual.FailAfter-1 {
			t.Errorf("one round before the end of patience: %+v", got)
		}
		after(usual.Interval)
		if got := p.Last(); got.Serving || got.Futile {
			t.Errorf("patience has no end, or no consequence: %+v", got)
		}
		w.change(func(w *world) { w.bind = nil })
		after(usual.Interval)
		w.change(func(w *world) { w.bind, w.starving = refused, 600*time.Millisecond })
		after(usual.Interval)
		if got := p.Last(); got.Failures != 1 {
			t.Errorf("an answer that came is judged: %+v", got)
		}
	})
}

// Patience ends as well where it is this process that is not run, for nobody is served for
// certain by a server that has not answered for so long. But a restart would end calls of
// one that may well serve them.
func TestStarvedProber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{pid: 1}
		p := w.prober(usual)
		run(t, p)
		w.change(func(w *world) { w.bind = starved })
		after(time.Duration(2*usual.FailAfter-1) * usual.Interval)
		if got := p.Last(); !got.Serving {
			t.Errorf("one round before the end of patience: %+v", got)
		}
		after(usual.Interval)
		if got := p.Last(); got.Serving || !got.Futile {
			t.Errorf("patience has no end, or ends in a restart: %+v", got)
		}
		w.change(func(w *world) { w.bind = silent })
		after(time.Duration(usual.FailAfter-1) * usual.Interval)
		if got := p.Last(); got.Serving || !got.Futile {
			t.Errorf("a restart for fewer than fail_after: %+v", got)
		}
		after(usual.Interval)
		if got := p.Last(); got.Serving || got.Futile {
			t.Errorf("when we can tell: %+v", got)
		}
	})
}

// What hangs for the clients of one transport is told, too, although the others are served
// and turnserver is busy.
func TestStarvedTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{pid: 1, others: []Transport{TLS}, starving: 600 * time.Millisecond}
		p := w.prober(usual)
		run(t, p)
		w.change(func(w *world) { w.sideHang = true })
		after(time.Duration(2*usual.FailAfter)*usual.Interval + usual.Timeout)
		if got := p.Last(); !got.Serving || !got.Answers[1].Failing {
			t.Errorf("%+v", got)
		}
	})
}

// A new child is probed at once, even while a stage still waits for the old one.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{pid: 1}
		p := w.prober(usual)
		run(t, p)
		w.change(func(w *world) { w.hang = true })
		after(6 * time.Second) // one second into the round that hangs
		w.change(func(w *world) { w.pid = 0 })
		p.Kick()
		synctest.Wait()
		if got := p.Last(); !reflect.DeepEqual(got, Result{}) {
			t.Errorf("child ended: got %+v", got)
		}
		w.change(func(w *world) { w.pid, w.hang, w.noCredential = 2, false, true })
		p.Kick()
		synctest.Wait()
		if got := p.Last(); got.PID != 2 || !got.Serving || got.Authenticated || got.Failures != 0 {
			t.Errorf("child started again: got %+v", got)
		}
	})
}

// Configure asks at once, and from then on as often and as patiently as it is told.
func TestConfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{pid: 1}
		p := w.prober(Config{Interval: time.Hour, Timeout: time.Second, FailAfter: 1})
		run(t, p)
		after(time.Minute)
		before := w.count()
		p.Configure(Config{Interval: 10 * time.Second, Timeout: time.Second, FailAfter: 2})
		after(5 * time.Second)
		if n := w.count() - before; n != 1 {
			t.Errorf("%d rounds at once, want 1", n)
		}
		after(time.Minute)
		if n := w.count() - before; n != 7 {
			t.Errorf("%d rounds in a minute, want 7", n)
		}
		w.change(func(w *world) { w.bind = silent })
		after(10 * time.Second)
		if r := p.Last(); !r.Serving || r.Failures != 1 {
			t.Errorf("after one failure of two: %+v", r)
		}
		after(10 * time.Second)
		if p.Last().Serving {
			t.Error("it serves after two failures")
		}
	})
}
