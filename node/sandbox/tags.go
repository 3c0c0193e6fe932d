package sandbox

import "github.com/mustermesh/muster/proto"

// Tags under which content is recorded say whose it is, so that access can be
// decided after a restart as before it.

// JobTag gives the tag of what a job of a requester consists of.
func JobTag(requester proto.PeerID, job proto.JobID) string {
	return "job:" + requester.String() + ":" + job.String()
}

// ResultTag gives the tag of what one execution of a requester left.
func ResultTag(requester proto.PeerID, e proto.ExecutionID) string {
	return "result:" + requester.String() + ":" + e.String()
}
