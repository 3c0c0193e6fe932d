package node

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/executor"
	"github.com/mustermesh/muster/internal/doctor"
	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/proto"
)

// Areas of findings that only a node speaks of.
const (
	areaPeers = "peers"
	areaJobs  = "jobs"
)

// doctorTimeout is how long a node looks at itself: a sandbox may have to start.
const doctorTimeout = time.Minute

// Doctor says what is wrong with this node, and what to do about it.
func (s *server) Doctor(ctx context.Context, req *connect.Request[api.DoctorRequest]) (*connect.Response[api.DoctorResponse], error) {
	out := &api.DoctorResponse{}
	for _, f := range s.n.findings(ctx, req.Msg.Deep) {
		out.Findings = append(out.Findings, &api.Finding{Area: f.Area, Level: f.Level.String(), Detail: f.Detail, Fix: f.Fix})
	}
	return connect.NewResponse(out), ctx.Err()
}

func (n *node) findings(ctx context.Context, deep bool) []doctor.Finding {
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	all := doctor.Check(n.facts(ctx))
	if n.Net != nil {
		all = append(all, n.checkPeers())
	}
	if n.whyNotProvider != "" {
		all = append(all, doctor.Finding{
			Area: doctor.AreaProvider, Level: doctor.Problem, Detail: "asked to lend, and does not: " + n.whyNotProvider,
			Fix: "Do what the findings about the sandbox say, and start the daemon again.",
		})
	}
	all = append(all, n.checkJobs()...)
	if deep {
		all = append(all, n.checkRun(ctx))
	}
	return all
}

func (n *node) checkPeers() doctor.Finding {
	direct, relayed := n.paths()
	providers, _ := n.Directory.Providers()
	text := fmt.Sprintf("%d connected, %d of them through relays; %d providers known", direct+relayed, relayed, len(providers))
	if len(providers) == 0 && n.cfg.has(RoleRequester) {
		return doctor.Finding{Area: areaPeers, Level: doctor.Note, Detail: text, Fix: "Jobs of this node wait until there is one: start `muster daemon` on another machine, or look at the findings about bootstrap and reachability."}
	}
	return doctor.Finding{Area: areaPeers, Level: doctor.OK, Detail: text}
}

// maxJobFindings is how many jobs that wait are named.
const maxJobFindings = 10

// checkJobs speaks of the open jobs that wait, and says where to read more.
func (n *node) checkJobs() (all []doctor.Finding) {
	open := n.requester.OpenJobs()
	if n.Net == nil && len(open) > 0 {
		return []doctor.Finding{{Area: areaJobs, Level: doctor.Note, Detail: fmt.Sprintf("%d jobs are open, and nothing runs them", len(open)), Fix: "Start `muster daemon`, which goes on with them."}}
	}
	waiting := 0
	for _, j := range open {
		why := j.Waits()
		if why == "" {
			continue
		}
		if waiting++; waiting > maxJobFindings {
			continue
		}
		all = append(all, doctor.Finding{
			Area: areaJobs, Level: doctor.Warning, Detail: fmt.Sprintf("job %s waits: %s", j.ID().Short(), why),
			Fix: fmt.Sprintf("See what would have to change: `muster job explain %s`.", j.ID().Short()),
		})
	}
	if waiting > maxJobFindings {
		all = append(all, doctor.Finding{Area: areaJobs, Level: doctor.Note, Detail: fmt.Sprintf("%d more jobs wait", waiting-maxJobFindings), Fix: "See `muster job list`."})
	}
	if waiting == 0 {
		all = append(all, doctor.Finding{Area: areaJobs, Level: doctor.OK, Detail: fmt.Sprintf("%d open, none of them waits", len(open))})
	}
	return all
}

// smallestProgram does nothing. It is
//
//	(module (memory (export "memory") 1) (func (export "_start")))
const smallestProgram = "\x00asm\x01\x00\x00\x00" + // magic, version
	"\x01\x04\x01\x60\x00\x00" + // a type: no parameters, no results
	"\x03\x02\x01\x00" + // a function of that type
	"\x05\x03\x01\x00\x01" + // a memory of one page
	"\x07\x13\x02\x06memory\x02\x00\x06_start\x00\x00" + // exports
	"\x0a\x04\x01\x02\x00\x0b" // code: end

// checkRun runs a program that does nothing.
func (n *node) checkRun(ctx context.Context) doctor.Finding {
	begun := time.Now()
	res, err := n.runSmallest(ctx)
	took := time.Since(begun).Round(time.Millisecond)
	if err == nil && (res.Outcome != executor.Exited || res.ExitCode != 0) {
		err = fmt.Errorf("it ended: %s %s, exit code %d", res.Outcome, res.Trap, res.ExitCode)
	}
	if err != nil {
		return doctor.Finding{
			Area: doctor.AreaSandbox, Level: doctor.Problem, Detail: fmt.Sprintf("a program that does nothing did not run, after %s: %v", took, err),
			Fix: "Run `muster doctor --deep` as the user that runs the daemon, and hand on a bundle if it stays so.",
		}
	}
	return doctor.Finding{Area: doctor.AreaSandbox, Level: doctor.OK, Detail: fmt.Sprintf("a program that does nothing ran in %s, with the start of its sandbox", took)}
}

func (n *node) runSmallest(ctx context.Context) (executor.Result, error) {
	code := []byte(smallestProgram)
	program := executor.Program{CID: proto.RawCID(code), Open: func(context.Context) ([]byte, error) { return code, nil }}
	defer n.exec.Release(n.Self, program.CID)
	x, err := n.exec.Start(ctx, executor.Task{
		Owner: n.Self, Program: program, Limits: executor.Limits{Memory: 1 << 20, Disk: 1 << 20, Timeout: doctorTimeout / 2},
	})
	if err != nil {
		return executor.Result{}, err
	}
	defer x.Stop()
	return x.Wait(ctx)
}
