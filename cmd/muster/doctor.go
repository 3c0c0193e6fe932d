package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/mustermesh/muster/node"
	"github.com/mustermesh/muster/node/api"
)

// areas is what a node is examined for, in the order that people read.
var areas = []string{"daemon", "config", "home", "version", "clock", "disk", "limits", "ports", "reachability", "bootstrap", "peers", "sandbox", "provider", "jobs"}

// examined are the areas that a node itself must speak of.
var examined = []string{"version", "clock", "disk", "ports", "reachability", "bootstrap", "peers", "sandbox", "provider", "jobs"}

// severity orders levels, the worst first.
var severity = []string{"problem", "warning", "note", "ok"}

// A doctor examines this home's node.
type doctor struct {
	a           *app
	deep, force bool
	bundle      string // where the archive goes; "" for none, - for standard output
}

func newDoctor(a *app) *cobra.Command {
	d := &doctor{a: a}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Examine this node and its surroundings, and say what to do about what is wrong",
		Long: `Doctor examines this node and what it needs: its home and configuration, clock, disk,
ports, reachability, bootstrap peers, the sandbox, what it lends and its jobs. Each
finding is ok, a note, a warning or a problem, with what to do about it.

Where no daemon runs it examines what it can without, and says what is missing.
With --deep it also runs a program in the sandbox. With --bundle it writes an
archive for whoever helps you; no keys are in it, but look through it before you
give it away.

It ends with 0 when there is no problem, and with 1 when there is one.`,
		Example: "  muster doctor\n  muster doctor --deep\n  muster doctor --bundle muster-help.tar.gz\n  muster doctor -o json",
		Args:    noArguments,
		RunE:    d.run,
	}
	cmd.Flags().BoolVar(&d.deep, "deep", false, "run a program in the sandbox, too")
	cmd.Flags().StringVar(&d.bundle, "bundle", "", "write an archive for whoever helps to `FILE`, or to standard output if it is -")
	cmd.Flags().BoolVar(&d.force, "force", false, "let --bundle replace FILE")
	return cmd
}

func (d *doctor) run(cmd *cobra.Command, _ []string) error {
	ctx, _, stop := d.a.until(cmd.Context())
	defer stop()
	cfg, err := d.a.load(cmd)
	var usage *exitError
	if errors.As(err, &usage) {
		return err
	}
	if err := d.checkBundle(); err != nil {
		return err
	}
	r := &report{}
	if err != nil {
		r.add("config", "problem", err.Error(), "correct the file; nothing works before that")
		r.whyMissing = "the configuration cannot be read"
		return d.tell(r)
	}
	return d.examine(ctx, cfg, r)
}

func (d *doctor) examine(ctx context.Context, cfg node.Config, r *report) error {
	log, err := d.a.logger(&cfg, "error")
	if err != nil {
		return err
	}
	c, err := d.a.mesh.dial(ctx, cfg, true, log)
	if err != nil {
		r.add("daemon", "problem", message(err), "look at the daemon's log; if its process is stuck, end it and start `muster daemon` again")
		r.whyMissing = "the node does not answer"
		return d.tell(r)
	}
	r.ask(ctx, c, d.deep)
	if d.bundle != "" {
		r.bundle, err = d.a.saveBundle(ctx, c, d.bundle, d.force)
	}
	if cause := context.Cause(ctx); cause != nil {
		return errors.Join(cause, c.close())
	}
	return errors.Join(d.tell(r), err, c.close())
}

// tell prints the report; a problem in it is the error.
func (d *doctor) tell(r *report) error {
	people := func(w io.Writer) { r.write(d.a.page(w)) }
	if d.bundle == "-" {
		people(d.a.err) // the archive has standard output
	} else if err := d.a.print(r.document(), people); err != nil {
		return err
	}
	if r.bundle != nil {
		r.bundle.tell(d.a.err)
	} else if d.bundle != "" {
		fmt.Fprintln(d.a.err, "no archive was written, for the node gave none")
	}
	if n := r.count("problem"); n > 0 {
		return fmt.Errorf("%s found; what to do stands under each", plural(n, "problem"))
	}
	return nil
}

// A report is what an examination found.
type report struct {
	findings   []*api.Finding
	whyMissing string
	bundle     *bundle // nil if none was written
}

func (r *report) add(area, level, detail, fix string) {
	r.findings = append(r.findings, &api.Finding{Area: area, Level: level, Detail: detail, Fix: fix})
}

// ask lets the node say what it finds.
func (r *report) ask(ctx context.Context, c *client, deep bool) {
	if c.own {
		r.add("daemon", "note", "no daemon runs in this home", "`muster daemon` runs one; other commands do without")
		r.whyMissing = "only a running daemon knows; start `muster daemon` and ask again"
	}
	resp, err := c.Doctor(ctx, connect.NewRequest(&api.DoctorRequest{Deep: deep}))
	switch {
	case connect.CodeOf(err) == connect.CodeUnimplemented:
		r.add("daemon", "problem", "the daemon is of an older version that cannot examine itself", "stop it, and start `muster daemon` with this version")
		r.whyMissing = "the daemon is too old"
	case err != nil:
		r.add("daemon", "problem", "the node did not finish examining itself: "+message(err), "look at the daemon's log, and start it again")
		r.whyMissing = "the node did not finish examining itself"
	default:
		r.findings = append(r.findings, resp.Msg.Findings...)
	}
}

func (r *report) count(level string) (n int) {
	for _, f := range r.findings {
		if f.Level == level {
			n++
		}
	}
	return n
}

// lack gives the areas that nobody spoke of, where that has a reason.
func (r *report) lack() (out []string) {
	if r.whyMissing == "" {
		return nil
	}
	for _, area := range examined {
		if !slices.ContainsFunc(r.findings, func(f *api.Finding) bool { return f.Area == area }) {
			out = append(out, area)
		}
	}
	return out
}

// document is the report for scripts.
func (r *report) document() object {
	doc := object{{"problems", r.count("problem")}, {"warnings", r.count("warning")}, {"findings", plainList(r.findings)}}
	missing, why := r.lack(), r.whyMissing
	if len(missing) == 0 {
		missing, why = []string{}, ""
	}
	doc = append(doc, member{"missing", missing}, member{"why_missing", why})
	if r.bundle != nil {
		doc = append(doc, member{"bundle", r.bundle.path})
	}
	return doc
}

// sorted gives the findings by area, and the worst of each area first.
func (r *report) sorted() []*api.Finding {
	rank := func(of []string, s string) int {
		if i := slices.Index(of, s); i >= 0 {
			return i
		}
		return len(of)
	}
	out := slices.Clone(r.findings)
	slices.SortStableFunc(out, func(a, b *api.Finding) int {
		return cmp.Or(cmp.Compare(rank(areas, a.Area), rank(areas, b.Area)), strings.Compare(a.Area, b.Area),
			cmp.Compare(rank(severity, a.Level), rank(severity, b.Level)))
	})
	return out
}

func (r *report) write(p *page) {
	area := ""
	for _, f := range r.sorted() {
		if f.Area != area {
			area = f.Area
			fmt.Fprintln(p.w, clean(area))
		}
		mark := clean(f.Level)
		if f.Level == "warning" || f.Level == "problem" {
			mark = strings.ToUpper(mark)
		}
		p.say(fmt.Sprintf("  %-7s  ", mark), "%s", f.Detail)
		if f.Fix != "" && f.Level != "ok" {
			p.say("           -> ", "%s", f.Fix)
		}
	}
	fmt.Fprintln(p.w)
	if missing := r.lack(); len(missing) > 0 {
		p.say("not examined: ", "%s (%s)", strings.Join(missing, ", "), r.whyMissing)
	}
	var words []string
	for _, level := range severity {
		switch n := r.count(level); {
		case level == "ok":
			words = append(words, fmt.Sprintf("%d ok", n))
		default:
			words = append(words, plural(n, level))
		}
	}
	p.say("", "%s", strings.Join(words, ", "))
}
