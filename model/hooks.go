package model

// HookNotes is the plugin under which the store keeps a HookFailure for each hook that failed last.
const HookNotes = "hooks"

// HookFailure is a hook that failed: a program that somebody has run on changes of objects.
type HookFailure struct {
	Host string `json:"host"` // where it is run
	Hook string `json:"hook"`
	// Object whose change it was run for, and the revision of that.
	Object   string `json:"object"`
	Revision int64  `json:"revision"`
	Attempts int    `json:"attempts"`
	// GivenUp: it is not run again for that change.
	GivenUp bool   `json:"givenUp,omitempty"`
	Reason  string `json:"reason"`
}
