package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node"
	"github.com/mustermesh/muster/node/api"
)

// Exit codes, as docs/operating.md lists them.
const (
	exitOK          = 0
	exitError1      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitUnreachable = 4
	exitFailed      = 5
	exitDisputed    = 6
	exitTimeout     = 124
)

// An exitError is an error with the exit code that it stands for.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// exitCode gives the code for an error of any command.
func exitCode(err error) int {
	var e *exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &e):
		return e.code
	case errors.Is(err, node.ErrUnreachable):
		return exitUnreachable
	case errors.Is(err, context.DeadlineExceeded):
		return exitTimeout
	}
	switch connect.CodeOf(err) {
	case connect.CodeNotFound:
		return exitNotFound
	case connect.CodeUnavailable:
		return exitUnreachable
	case connect.CodeDeadlineExceeded:
		return exitTimeout
	}
	return exitError1
}

// tooOld is what it means that a node does not know a call.
const tooOld = "the daemon of this home is older than this command, and cannot do this; stop it, and start `muster daemon` with this version"

// message gives an error as a person should read it: without the API's words
// for kinds of errors.
func message(err error) string {
	var ce *connect.Error
	if !errors.As(err, &ce) {
		return err.Error()
	}
	if ce.Code() == connect.CodeUnimplemented {
		return tooOld
	}
	return strings.Replace(err.Error(), ce.Error(), ce.Message(), 1)
}

// jobError tells how a job ended, nil if well.
func jobError(j *api.JobSummary) error {
	id, why := short(j.Id), reason(j)
	switch j.State {
	case "completed":
		return nil
	case "disputed":
		return &exitError{exitDisputed, fmt.Errorf("job %s is disputed%s; all answers are kept, and `muster job describe %s` says what would settle it", id, why, id)}
	case "expired":
		return &exitError{exitTimeout, fmt.Errorf("job %s waited too long%s; a longer --queue-timeout, or fewer constraints, may help", id, why)}
	case "cancelled":
		return fmt.Errorf("job %s was cancelled%s", id, why)
	}
	if j.TimedOut {
		return &exitError{exitTimeout, fmt.Errorf("job %s failed%s; a longer --timeout may help", id, why)}
	}
	if j.ExitCode != 0 {
		return &exitError{exitFailed, fmt.Errorf("job %s failed: the program ended with code %d%s", id, j.ExitCode, why)}
	}
	return &exitError{exitFailed, fmt.Errorf("job %s failed%s", id, why)}
}

func reason(j *api.JobSummary) string {
	if j.Reason == "" {
		return ""
	}
	return " (" + clean(j.Reason) + ")"
}
