package scheduler

import (
	"math/rand/v2"
	"slices"

	"github.com/mustermesh/muster/proto"
)

// A Candidate is a provider as the requester sees it when it decides.
type Candidate struct {
	ID          proto.PeerID
	Weight      float64       // from standing; 0: proven wrong, never chosen
	Group       string        // public address group, "" where it forms none
	Free        int           // slots free, by its last word
	Price       proto.Credits // of a core-hour
	Engine      proto.Engine
	Offered     proto.Resources // by its advert
	AlwaysCheck bool            // ended executions without an answer lately
	Ineligible  *No             // why its advert does not fit the job; nil: it fits
}

// drawExecutor draws two candidates by weight, perhaps the same one twice, and
// gives the cheaper; prices under a quarter of the median count as the median,
// so that a lowball bid wins nothing. All weights must be positive.
func drawExecutor(cs []*peer, r *rand.Rand) *peer {
	a, b := drawWeighted(cs, r), drawWeighted(cs, r)
	if a.Price == b.Price {
		return a
	}
	median := medianPrice(cs)
	if flooredPrice(b.Price, median) < flooredPrice(a.Price, median) {
		return b
	}
	return a
}

func drawWeighted(cs []*peer, r *rand.Rand) *peer {
	total := 0.0
	for _, c := range cs {
		total += c.Weight
	}
	at := r.Float64() * total
	for _, c := range cs {
		if at -= c.Weight; at < 0 {
			return c
		}
	}
	return cs[len(cs)-1]
}

func medianPrice(cs []*peer) proto.Credits {
	prices := make([]proto.Credits, len(cs))
	for i, c := range cs {
		prices[i] = c.Price
	}
	slices.Sort(prices)
	return prices[len(prices)/2]
}

func flooredPrice(p, median proto.Credits) proto.Credits {
	if p < median/4 {
		return median
	}
	return p
}
