package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/mustermesh/muster/node"
	"github.com/mustermesh/muster/node/api"
)

// A wording gives the words that may stand somewhere on a command line; args is
// what stands before.
type wording func(ctx context.Context, c *client, args []string, begun string) ([]cobra.Completion, error)

// complete lets the shell complete the arguments and flags of all commands that
// name a job, a peer or a task; which one that is, a command's usage says.
func (a *app) complete(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		a.complete(cmd)
	}
	parent := ""
	if root.HasParent() {
		parent = root.Parent().Name()
	}
	switch use := root.Use; {
	case strings.HasSuffix(use, " JOB"):
		root.ValidArgsFunction = a.words(1, jobIDs(jobStates[root.Name()]))
	case strings.HasSuffix(use, " PEER"):
		root.ValidArgsFunction = a.words(1, peerIDs)
	case use == "connect ADDR":
		root.ValidArgsFunction = a.words(1, unreachedAddrs)
	case parent == "config" && root.Name() == "set":
		root.ValidArgsFunction = a.ruleWords
	case parent == "config" && root.Name() == "unset":
		root.ValidArgsFunction = cobra.FixedCompletions(ruleKeys(), cobra.ShellCompDirectiveNoFileComp)
	case strings.Contains(use, "PROGRAM.wasm"):
		root.ValidArgsFunction = cobra.FixedCompletions([]string{"wasm", "yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt)
	}
	a.completeFlags(root)
}

func (a *app) completeFlags(cmd *cobra.Command) {
	for name, words := range map[string]wording{
		"task": taskNumbers, "job": jobIDs(nil), "from": peerIDs, "allow": peerIDs, "deny": peerIDs, "bootstrap": connectedAddrs,
	} {
		if f := cmd.Flag(name); f != nil && f.Value.Type() != "bool" {
			a.completeFlag(cmd, name, a.words(-1, words))
		}
	}
	if cmd.Name() == "list" && cmd.Flags().Lookup("state") != nil {
		a.completeFlag(cmd, "state", cobra.FixedCompletions(slices.Concat(openStates, endStates), cobra.ShellCompDirectiveNoFileComp))
	}
	for name, words := range map[string][]string{
		"role": {node.RoleProvider, node.RoleRequester, node.RoleBootstrap}, "hedge": {"predicted", "mean", "off"}, "engine": engines,
	} {
		if cmd.Flags().Lookup(name) != nil {
			a.completeFlag(cmd, name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
		}
	}
}

// completeFlag gives a flag its words, unless its command did so already.
func (a *app) completeFlag(cmd *cobra.Command, name string, words cobra.CompletionFunc) {
	if _, there := cmd.GetFlagCompletionFunc(name); !there {
		_ = cmd.RegisterFlagCompletionFunc(name, words) // it fails for a flag that is not there, or a second time
	}
}

// jobStates says which jobs a command is about; one that is not here is about
// all.
var jobStates = map[string][]string{
	"cancel": openStates,
	"retry":  {"failed", "disputed", "cancelled", "expired"},
}

// words asks this home's node, within a second, and gives none if it does not
// answer. It completes the first most arguments; below 0 it is for a flag.
func (a *app) words(most int, find wording) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if most >= 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c, err := a.dial(ctx, cmd, reading)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer c.close()
		found, err := find(ctx, c, args, begun)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

// jobIDs gives short ids of jobs in these states (nil: any), or whole ones once
// more than that has been typed.
func jobIDs(states []string) wording {
	return func(ctx context.Context, c *client, _ []string, begun string) (words []cobra.Completion, err error) {
		resp, err := c.ListJobs(ctx, connect.NewRequest(&api.ListJobsRequest{Limit: 100}))
		if err != nil {
			return nil, err
		}
		for _, j := range resp.Msg.Jobs {
			if states != nil && !slices.Contains(states, j.State) || !strings.HasPrefix(j.Id, begun) {
				continue
			}
			id := short(j.Id)
			if len(begun) > len(id) {
				id = j.Id
			}
			words = append(words, cobra.CompletionWithDesc(id, clean(strings.TrimSpace(j.State+" "+j.Name))))
		}
		return words, nil
	}
}

// taskNumbers gives the tasks of the job that stands before, those that do not
// run well with what is the matter with them.
func taskNumbers(ctx context.Context, c *client, args []string, _ string) (words []cobra.Completion, err error) {
	if len(args) == 0 {
		return nil, nil
	}
	resp, err := c.DescribeJob(ctx, connect.NewRequest(&api.DescribeJobRequest{Job: args[0]}))
	if err != nil {
		return nil, err
	}
	for _, t := range resp.Msg.Tasks[:min(len(resp.Msg.Tasks), maxRows)] {
		words = append(words, cobra.CompletionWithDesc(fmt.Sprint(t.Index), clean(strings.TrimSpace(t.State+" "+outcome(t)))))
	}
	return words, nil
}

// peerIDs gives the peers that are connected, and those that ever worked here.
func peerIDs(ctx context.Context, c *client, _ []string, begun string) (words []cobra.Completion, err error) {
	seen := map[string]bool{}
	add := func(id, what string) {
		if !seen[id] && strings.HasPrefix(id, begun) {
			seen[id] = true
			words = append(words, cobra.CompletionWithDesc(id, clean(what)))
		}
	}
	if resp, err := c.ListTrust(ctx, connect.NewRequest(&api.ListTrustRequest{})); err == nil {
		for _, s := range resp.Msg.Peers {
			add(s.Peer, s.State)
		}
	}
	if resp, err := c.ListPeers(ctx, connect.NewRequest(&api.ListPeersRequest{})); err == nil {
		for _, p := range resp.Msg.Peers {
			add(p.Id, "connected")
		}
	}
	return words, nil
}

// unreachedAddrs gives the bootstrap peers that are out of reach.
func unreachedAddrs(ctx context.Context, c *client, _ []string, _ string) (words []cobra.Completion, err error) {
	resp, err := c.Status(ctx, connect.NewRequest(&api.StatusRequest{}))
	if err != nil {
		return nil, err
	}
	for _, b := range resp.Msg.Bootstrap {
		if !b.Connected {
			words = append(words, cobra.CompletionWithDesc(b.Addr, "bootstrap peer, not connected"))
		}
	}
	return words, nil
}

// connectedAddrs gives the addresses of the peers that are connected.
func connectedAddrs(ctx context.Context, c *client, _ []string, begun string) (words []cobra.Completion, err error) {
	resp, err := c.ListPeers(ctx, connect.NewRequest(&api.ListPeersRequest{}))
	if err != nil {
		return nil, err
	}
	for _, p := range resp.Msg.Peers {
		for _, addr := range p.Addrs {
			if full := addr + "/p2p/" + p.Id; strings.HasPrefix(full, begun) {
				words = append(words, full)
			}
		}
	}
	return words, nil
}

// ruleWords completes a rule's key, then what values it may have.
func (a *app) ruleWords(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 {
		var words []cobra.Completion
		for _, r := range rules() {
			words = append(words, cobra.CompletionWithDesc(r.key, r.what))
		}
		return words, cobra.ShellCompDirectiveNoFileComp
	}
	switch r, err := findRule(args[0]); {
	case err != nil:
	case r.key == "allow" || r.key == "deny":
		return a.words(-1, peerIDs)(cmd, args, begun)
	case r.key == "idle_only" || r.key == "on_battery":
		return []cobra.Completion{"yes", "no"}, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}
