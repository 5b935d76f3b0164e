package supervisor

import "time"

// Policy says how long to wait before the next start of a child that died.
type Policy struct {
	Delay       time.Duration // after the first short run
	Max         time.Duration // the delay doubles up to here
	StableAfter time.Duration // a run this long forgets the short ones before it
}

// jitter is the greatest share by which a delay is lengthened, so that hosts
// that lost their children together do not all come back in the same instant.
const jitter = 0.2

// next is the delay after a run of length ran that followed so many short runs in
// a row, and how many that makes now. A start that failed is a run of length 0.
// random, in [0, 1), lengthens the delay by its share of the jitter.
func (p Policy) next(short int, ran time.Duration, random float64) (delay time.Duration, now int) {
	if ran >= p.StableAfter {
		// It served. coturn 4.6.1 answers 42 ms after its start and nothing
		// holds the port after its end, so any wait would only be outage.
		return 0, 0
	}
	delay = min(p.Delay, p.Max)
	for range short {
		if delay >= p.Max-delay { // not 2*delay, which can overflow
			delay = p.Max
			break
		}
		delay *= 2
	}
	return delay + time.Duration(jitter*random*float64(delay)), short + 1
}
