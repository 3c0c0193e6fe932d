package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/mustermesh/muster/internal/jobfile"
	"github.com/mustermesh/muster/node/api"
)

// shownAnnouncements is how many of the latest a person is shown.
const shownAnnouncements = 20

func newProviderExplain(a *app) *cobra.Command {
	var since string
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Say what this node did with the jobs that were announced, and what would have won more",
		Long: `Explain tells what this node did with the announcements that it saw: how many it bid
for, won, lost and let pass, why it let them pass, and the smallest changes of its
rules and its price that would have won more work. A node that lends nothing says
why, and what to do.`,
		Example: "  muster provider explain\n  muster provider explain --since 24h\n  muster provider explain -o json",
		Args:    noArguments,
		RunE: a.with(reading, func(ctx context.Context, c *client, _ []string) error {
			ms, err := jobfile.ParseDuration(since)
			if err != nil {
				return usagef("--since: %w", err)
			}
			now := time.Now()
			resp, err := c.ExplainProvider(ctx, connect.NewRequest(&api.ExplainProviderRequest{SinceMs: max(1, now.UnixMilli()-ms)}))
			if err != nil {
				return err
			}
			return a.print(plain(resp.Msg), func(w io.Writer) {
				l := &lending{ExplainProviderResponse: resp.Msg, page: a.page(w), now: now, offline: c.own}
				l.write()
			})
		}),
	}
	cmd.Flags().StringVar(&since, "since", "1h", "look back this `DURATION`, such as 10m or 24h, as far as the node remembers")
	return cmd
}

// A lending shows what became of the announcements that a node saw.
type lending struct {
	*api.ExplainProviderResponse
	*page
	now     time.Time
	offline bool // no daemon runs
}

func (l *lending) write() {
	if !l.Enabled {
		l.nothing()
	}
	if l.Summary != "" {
		l.say("", "%s", l.Summary)
	}
	if l.Seen > 0 || l.Enabled {
		fmt.Fprintln(l.w)
		l.facts("since", clock(l.SinceMs), "seen", plural(int(l.Seen), "announcement"), "bids", fmt.Sprint(l.Bids),
			"won", plural(int(l.Won), "award"), "no bid", fmt.Sprint(unbid(l.ExplainProviderResponse)), "done", plural(int(l.Executions), "execution"))
	}
	g := columns("times", "reason")
	for _, r := range l.Reasons {
		g.add(r.Count, r.Text)
	}
	l.section("Why not", g, "reason")
	if len(l.Change) > 0 {
		l.title("What would have won more")
		l.numbered(l.Change)
	}
	l.latest()
}

// unbid is how many announcements the node did not bid for.
func unbid(e *api.ExplainProviderResponse) uint64 { return e.Seen - min(e.Seen, e.Bids) }

// nothing says why a node takes no work, and what to do about it.
func (l *lending) nothing() {
	if l.offline {
		l.say("", "No daemon runs in this home; `muster daemon` lends this machine.")
		return
	}
	l.say("", "This node takes no work now: %s.", cmp.Or(strings.TrimRight(l.WhyNot, "."), "it does not say why"))
	if len(l.Change) == 0 {
		l.say("", "`muster provider config` shows the rules and which of them holds back, `muster doctor` what is wrong with this machine.")
	}
}

func (l *lending) latest() {
	if len(l.Recent) == 0 {
		return
	}
	l.title("Latest announcements")
	g := columns("age", "job", "requester", "tasks", "pays up to", "outcome", "why", "would win with")
	for _, c := range l.Recent[:min(len(l.Recent), shownAnnouncements)] {
		requester, pays := "", ""
		if l.wide() {
			requester = ending(c.Requester)
		}
		if l.wide() && c.MaxPrice > 0 {
			pays = numberText(c.MaxPrice)
		}
		g.add(ago(c.TimeMs, l.now), short(c.Job), requester, c.Tasks, pays, c.Outcome, cmp.Or(c.Detail, c.Reason), c.Change)
	}
	l.table(g, "why", "would win with")
	if n := len(l.Recent) - shownAnnouncements; n > 0 {
		l.say("", "and %s more; -o json has them all", plural(n, "announcement"))
	}
}
