package simnet

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// A Bug is a fault planted in a driver, to show that it is found.
type Bug int

// Bugs.
const (
	NoBug             Bug = iota
	ReusesEpochs          // a restarted requester forgets its leases and counts epochs from the start
	AnswersFirst          // a provider sends an answer before it is on disk
	RecordsLate           // a requester assigns before it writes that down
	TellsFirst            // a requester sends receipts before what is settled is on disk
	SettlesLazily         // a requester does not sync what is settled
	ForgetsLeases         // a restarted provider does not restore its leases
	LeaksSlots            // a provider does not give back the slot of what it stopped
	RepeatsSettlement     // a restarted requester does not restore what is settled
	CountsRunsLazily      // a requester does not sync the number of its run
)

// A Split cuts links for a while.
type Split struct {
	At, For  time.Duration
	From, To []int // nodes; 0 is the requester
	OneWay   bool
}

// A Config says what a world is like. The zero value of a fault is none.
type Config struct {
	Seed       uint64
	Tasks      int
	Checkers   int
	Providers  int
	Slots      int // of each
	LocalSlots int // of the requester's sandbox
	Liars      int // the last providers; all tell the same lie
	Wall       [2]time.Duration
	Hedge      bool    // slow executions get backups
	Crawls     int     // so many of the first providers take four times as long
	Hangs      float64 // chance that an execution takes ten times as long
	Timeout    time.Duration
	Silence    time.Duration // of an award
	Grace      time.Duration // of an award, and of the job

	Latency   [2]time.Duration
	Slow      float64 // chance that a message takes up to 2 s
	Loss      float64 // chance that a message without a stream is lost
	Duplicate float64 // chance that one, or the begin of a stream, comes twice

	Skew       time.Duration   // clocks are off by so much at most
	Offsets    []time.Duration // by node; overrides Skew
	Drift      float64         // and run so much faster or slower
	ClockSteps bool            // a restart sets the clock anew

	Down       [2]time.Duration // how long a node that stopped stays down
	WorstPower bool             // losing power loses all that was not synced
	Calm       time.Duration    // from then on nothing fails
	Kills      int              // at random times
	PowerCuts  int              // at random times
	Tears      int              // of streams, at random times
	FullDisks  int              // at random times
	Splits     []Split
	Crashes    []Crash
	Refuses    bool // a provider whose disk is full refuses work; else it stops

	Bug Bug
}

// Small gives a calm world to put faults into.
func Small(tasks, checkers, providers int) Config {
	return Config{
		Tasks: tasks, Checkers: checkers, Providers: providers, Slots: 2, Wall: [2]time.Duration{200 * time.Millisecond, 600 * time.Millisecond},
		Timeout: 20 * time.Second, Silence: 30 * time.Second, Grace: time.Minute,
		Latency: [2]time.Duration{time.Millisecond, 5 * time.Millisecond}, Down: [2]time.Duration{500 * time.Millisecond, time.Second},
	}
}

// Random gives a world with all kinds of faults, drawn from the seed.
func Random(seed uint64) Config {
	r := rand.New(rand.NewPCG(seed, 7))
	ms := func(low, high int) time.Duration { return time.Duration(low+r.IntN(high-low+1)) * time.Millisecond }
	c := Config{
		Seed: seed, Tasks: 5 + r.IntN(56), Checkers: r.IntN(4), Slots: 1 + r.IntN(3), LocalSlots: r.IntN(3),
		Timeout: ms(10000, 40000), Silence: ms(2000, 60000), Grace: ms(20000, 90000),
		Latency: [2]time.Duration{time.Millisecond, ms(2, 100)}, Slow: r.Float64() * .02, Loss: r.Float64() * .2, Duplicate: r.Float64() * .1,
		Skew: 55 * time.Second, Drift: .001, ClockSteps: r.IntN(2) == 0,
		Down: [2]time.Duration{ms(50, 1000), ms(1000, 40000)}, Calm: ms(10000, 120000),
		Kills: r.IntN(6), PowerCuts: r.IntN(3), Tears: r.IntN(8), FullDisks: r.IntN(3), Refuses: r.IntN(2) == 0,
	}
	c.Providers = min(max(3, c.Checkers+2)+r.IntN(3), 6)
	c.Wall = [2]time.Duration{ms(5, 500), ms(500, 6000)}
	if c.Checkers > 0 && r.IntN(4) == 0 && c.Providers > c.Checkers+1 {
		c.Liars, c.LocalSlots = 1, 1+r.IntN(2)
	}
	for range r.IntN(4) {
		c.Splits = append(c.Splits, randomSplit(r, c))
	}
	for range r.IntN(4) {
		c.Crashes = append(c.Crashes, Crash{Node: r.IntN(c.Providers + 1), Write: 1 + r.IntN(60), When: When(r.IntN(3))})
	}
	if c.Hedge = r.IntN(2) == 0; c.Hedge {
		c.Crawls, c.Hangs = r.IntN(2), r.Float64()*.2
	}
	return c
}

// randomSplit cuts some nodes off the others, or one way alone.
func randomSplit(r *rand.Rand, c Config) (s Split) {
	s.At, s.For = time.Duration(r.Int64N(int64(c.Calm))), time.Duration(r.Int64N(int64(time.Minute)))
	for n := range c.Providers + 1 {
		if r.IntN(2) == 0 {
			s.From = append(s.From, n)
		} else {
			s.To = append(s.To, n)
		}
	}
	s.OneWay = r.IntN(3) == 0
	return s
}

// String names the world.
func (c Config) String() string {
	return fmt.Sprintf("seed %d: %d tasks, %d checkers, %d providers of %d slots, %d liars, %d kills, %d power cuts, %d tears, %d full disks, splits %v, crashes %v",
		c.Seed, c.Tasks, c.Checkers, c.Providers, c.Slots, c.Liars, c.Kills, c.PowerCuts, c.Tears, c.FullDisks, c.Splits, c.Crashes)
}
