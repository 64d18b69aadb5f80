package tpctl

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"tuplenet/model/edge"
	"tuplenet/model/store"
)

// Exit codes of tpctl. Scripts branch on them, so they never change their meaning.
const (
	ExitOK           = 0
	ExitRefused      = 1 // the request is invalid, was refused or canceled
	ExitUsage        = 2 // unknown command or option, wrong number of arguments, bad configuration
	ExitNotFound     = 3
	ExitConflict     = 4 // a name, address or number is taken, or somebody else was faster
	ExitNotConverged = 5 // written, but --wait ran out of time
	ExitUnreachable  = 6 // the store does not answer
)

// usageError is an error of whoever typed the command; the store was not asked.
type usageError struct{ error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// errCanceled is returned when a question was not answered with yes.
var errCanceled = errors.New("operation canceled")

// notConverged says which chassis did not apply a change in time.
type notConverged struct{ text string }

func (e notConverged) Error() string { return e.text }

// exitCode translates an error into the exit code of the process.
func exitCode(err error) int {
	var usage usageError
	var late notConverged
	var ran exitStatus
	var none notFound
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &ran):
		return int(ran)
	case errors.As(err, &none):
		return ExitNotFound
	case errors.As(err, &usage):
		return ExitUsage
	case errors.As(err, &late), errors.Is(err, store.ErrNotLive):
		return ExitNotConverged
	case errors.Is(err, store.ErrUnreachable), errors.Is(err, context.DeadlineExceeded):
		return ExitUnreachable
	case errors.Is(err, store.ErrNotFound), errors.Is(err, edge.ErrNotFound):
		return ExitNotFound
	case errors.Is(err, store.ErrExists), errors.Is(err, store.ErrConflict), errors.Is(err, edge.ErrConflict):
		return ExitConflict
	default:
		return ExitRefused
	}
}

// oneLine makes sure that an error takes one line, whatever a library put into it.
func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
}
