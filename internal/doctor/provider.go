package doctor

import "fmt"

// Provider is whether this node takes work.
type Provider struct {
	Asked    bool   // the role is asked for
	Draining bool   // told to take nothing new
	HeldBack string // the owner's rule that holds back now, in words
	NoSlots  bool   // all are in use
	Seen     int    // announcements in the last hour
	Bids     int    // of those, bids
	Won      int    // of those, awards
	TopWhy   string // the most frequent reason not to bid, in words
	TopFix   string // what would change that
}

func (p *Provider) check() []Finding {
	switch {
	case p == nil:
		return nil
	case !p.Asked:
		return one(AreaProvider, OK, "not asked to lend", "")
	case p.Draining:
		return one(AreaProvider, Note, "draining: it takes no new work", "Take work again with muster node resume.")
	case p.HeldBack != "":
		return one(AreaProvider, Note, "held back by a rule of its owner: "+p.HeldBack, "Wait, or change the rule.")
	case p.Seen == 0:
		return one(AreaProvider, Note, "no job was announced in the last hour", "There is nothing to do while reachability is fine: nobody asked.")
	case p.Bids == 0:
		return one(AreaProvider, Warning, fmt.Sprintf("%s seen in the last hour, and no bid: %s", count(p.Seen, "announcement"), p.TopWhy), p.TopFix)
	case p.Won == 0:
		return one(AreaProvider, Note, fmt.Sprintf("%s in the last hour, and none won", count(p.Bids, "bid")), "A lower price or more slots win more; new peers are chosen less at first.")
	case p.NoSlots:
		return one(AreaProvider, OK, "lending; all slots are in use", "")
	}
	return one(AreaProvider, OK, fmt.Sprintf("lending; %s won in the last hour", count(p.Won, "lease")), "")
}
