package main

import (
	"strings"
	"testing"

	"github.com/mustermesh/muster/e2e/mesh"
	"github.com/mustermesh/muster/node/api"
)

func execution(peer, role, state string) *api.Execution {
	return &api.Execution{Peer: peer, Role: role, State: state}
}

func TestTallyFindsWhatShouldNotBe(t *testing.T) {
	nodes := []*mesh.Node{{Name: "provider-1", ID: "a"}, {Name: "provider-2", ID: "b"}, {Name: requesterName, ID: "r"}}
	fair := []*api.Execution{execution("a", "executor", "answered"), execution("b", "checker", "answered")}
	for _, c := range []struct {
		name string
		runs []*api.Execution
		want string // in the error; empty: none
	}{
		{"spread over all", fair, ""},
		{"the requester's own run is in the table", append(fair, execution("r", "referee", "answered")), ""},
		{"a second try after a failure is fair", append(fair, execution("b", "checker", "failed")), ""},
		{"one provider did nothing", fair[:1], "provider-2 ran nothing"},
		{"one provider failed all it was given", append(fair[:1:1], execution("b", "checker", "failed")), "provider-2 ran nothing"},
		{"somebody checked itself", append(fair, execution("a", "checker", "answered")), "task 0 of words by provider-1"},
		{"a stranger", append(fair, execution("x", "checker", "answered")), "x ran tasks"},
		{"the requester as provider", append(fair, execution("r", "executor", "answered")), "lent itself"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sum := newTally(nodes)
			sum.add(&api.DescribeJobResponse{Job: &api.JobSummary{Name: "words"}, Tasks: []*api.Task{{Executions: c.runs}}})
			err := sum.check()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
