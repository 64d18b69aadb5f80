package store

import (
	"errors"
	"fmt"
)

// Reasons that a caller branches on, with errors.Is. The text of an error that wraps them is one line for the operator.
var (
	ErrNotFound    = errors.New("not found")
	ErrExists      = errors.New("exists")
	ErrConflict    = errors.New("conflict")
	ErrChildren    = errors.New("has children")
	ErrInvalid     = errors.New("invalid")
	ErrExhausted   = errors.New("no free number")
	ErrUnreachable = errors.New("store unreachable")
	ErrDenied      = errors.New("store refused access")
	// ErrNewerSchema: the store was written by a newer version, so this one may not write.
	ErrNewerSchema = errors.New("db accessed by higher version")
	// ErrNotLive: the daemon of the node does not run, or does not answer.
	ErrNotLive = errors.New("node unreachable")
	// ErrClusterChanged: the store is another one, or one restored from an older state.
	ErrClusterChanged = errors.New("the store was replaced")
)

// refusal is an error with a text of its own and a reason to branch on.
type refusal struct {
	reason error
	text   string
}

func (e *refusal) Error() string { return e.text }
func (e *refusal) Unwrap() error { return e.reason }

func refuse(reason error, format string, args ...any) error {
	return &refusal{reason: reason, text: fmt.Sprintf(format, args...)}
}

// ErrHeld says that another live host uses the same system-id.
type ErrHeld struct{ By Identity }

func (e *ErrHeld) Error() string {
	return fmt.Sprintf("chassis %s is held by the live host %s (machine-id %s): two hosts must not have the same system-id", e.By.Chassis, e.By.Hostname, e.By.MachineID)
}
