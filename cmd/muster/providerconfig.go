package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/mustermesh/muster/node"
	"github.com/mustermesh/muster/node/api"
)

func newProviderConfig(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show or change the rules by which this machine is lent",
		Long: `Config shows the rules by which this machine is lent, whether it is lent right now,
and which rule holds back if it is not. Set and unset change them at once, without a
restart; what runs already goes on to its end unless a rule says otherwise.`,
		Example: `  muster provider config
  muster provider config set hours mon-fri 18:00-08:00 sat,sun
  muster provider config set max_temperature 80°C --save
  muster provider config unset idle_only`,
		Args: noCommandOrArguments,
		RunE: a.with(reading, func(ctx context.Context, c *client, _ []string) error {
			return a.changeRules(ctx, c, &api.RulesRequest{})
		}),
	}
	cmd.AddCommand(newRulesSet(a), newRulesUnset(a))
	return cmd
}

func noCommandOrArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%q is neither set nor unset", args[0])
	}
	return nil
}

func newRulesSet(a *app) *cobra.Command {
	req := &api.RulesRequest{}
	cmd := &cobra.Command{
		Use:   "set KEY VALUE...",
		Short: "Change one rule of lending",
		Long:  "Set changes one rule at once, until the daemon ends, or with --save for good.\nA list is replaced as a whole.\n\n" + ruleHelp(),
		Example: `  muster provider config set cpu 2.5
  muster provider config set memory 8GiB --save
  muster provider config set hours mon-fri 18:00-08:00 sat,sun
  muster provider config set deny 12D3KooW… 12D3KooW…`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return errors.New("KEY and VALUE are needed; `muster provider config` shows the keys")
			}
			r, err := findRule(args[0])
			if err != nil {
				return err
			}
			req.Change, req.Fields = &api.Rules{}, []string{r.key}
			if err := r.set(req.Change, args[1:]); err != nil {
				return fmt.Errorf("%s: %w", r.key, err)
			}
			return nil
		},
		RunE: a.with(reading, func(ctx context.Context, c *client, _ []string) error { return a.changeRules(ctx, c, req) }),
	}
	cmd.Flags().BoolVar(&req.Save, "save", false, "write it into config.yaml, too, so that it stays")
	return cmd
}

func newRulesUnset(a *app) *cobra.Command {
	req := &api.RulesRequest{Change: &api.Rules{}}
	cmd := &cobra.Command{
		Use:     "unset KEY...",
		Short:   "Take rules of lending away",
		Long:    "Unset takes rules away at once, until the daemon ends, or with --save for good.\n\n" + ruleHelp(),
		Example: "  muster provider config unset hours\n  muster provider config unset allow deny --save",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("KEY is missing; `muster provider config` shows the keys")
			}
			req.Fields = nil
			for _, key := range args {
				r, err := findRule(key)
				if err != nil {
					return err
				}
				req.Fields = append(req.Fields, r.key)
			}
			return nil
		},
		RunE: a.with(reading, func(ctx context.Context, c *client, _ []string) error { return a.changeRules(ctx, c, req) }),
	}
	cmd.Flags().BoolVar(&req.Save, "save", false, "take it out of config.yaml, too, so that it stays away")
	return cmd
}

func ruleHelp() string {
	var b strings.Builder
	for _, r := range rules() {
		fmt.Fprintf(&b, "  %-16s %s\n", r.key, r.what)
	}
	return strings.TrimRight(b.String(), "\n")
}

func (a *app) changeRules(ctx context.Context, c *client, req *api.RulesRequest) error {
	changes := req.Change != nil
	if changes && c.own && !req.Save {
		return errors.New("no daemon runs in this home, so the change would be forgotten at once; add --save to write it into config.yaml, or start `muster daemon`")
	}
	resp, err := c.Rules(ctx, connect.NewRequest(req))
	if err != nil {
		return err
	}
	if req.Save {
		if err := a.saveRules(resp.Msg.Rules, req.Fields); err != nil {
			return fmt.Errorf("in force, but not saved: %w", err)
		}
	}
	return a.print(plain(resp.Msg), func(w io.Writer) {
		writeRules(a.page(w), resp.Msg)
		if changes && !req.Save {
			fmt.Fprintln(a.err, "in force until the daemon ends; --save keeps it in config.yaml")
		}
	})
}

// saveRules writes rules as they are in force into the home's config.yaml.
func (a *app) saveRules(r *api.Rules, fields []string) error {
	home, err := filepath.Abs(cmp.Or(a.global.home, node.DefaultHome()))
	if err != nil {
		return err
	}
	return saveRules(configPath(home), r, fields)
}

func writeRules(p *page, r *api.RulesResponse) {
	lends := "yes"
	if !r.Lending {
		lends = "no"
		if r.WhyNot != "" {
			lends += ": " + r.WhyNot
		}
	}
	p.facts("lends now", lends)
	fmt.Fprintln(p.w)
	g := columns("rule", "value", "meaning")
	var lists [][]string
	known := r.Rules
	if known == nil {
		known = &api.Rules{}
	}
	for _, rule := range rules() {
		value, more := "-", []string(nil)
		if s := rule.show(known); s != "" {
			value = s
		}
		if rule.ids != nil {
			more = *rule.ids(known)
		}
		if len(more) > 0 {
			value = fmt.Sprintf("%d, below", len(more))
			lists = append(lists, append([]string{rule.key}, more...))
		}
		g.add(rule.key, value, rule.what)
	}
	p.table(g, "value", "meaning")
	for _, list := range lists {
		p.title("%s", list[0])
		for _, id := range list[1:] {
			p.say("  ", "%s", id)
		}
	}
	if len(r.Notes) > 0 {
		fmt.Fprintln(p.w)
	}
	for _, note := range r.Notes {
		p.say("note: ", "%s", note)
	}
}
