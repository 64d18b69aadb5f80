package model

// Problem names an object that is out of service, and why.
type Problem struct {
	// Key is the object, as Ref.String writes it.
	Key string `json:"key"`
	// Reason is one line for the operator.
	Reason string `json:"reason"`
}

// Status is what a node reports of itself. It lives as long as the daemon does (leased).
type Status struct {
	Chassis string `json:"chassis"`
	// Applied is the revision of the store up to which the node's switch does what intent says.
	Applied int64 `json:"applied"`
	// Reported is when this was written, in milliseconds since 1970 by the clock of the node.
	Reported int64 `json:"reported,omitempty"`
	// Problems are the objects that this node cannot use.
	Problems []Problem `json:"problems,omitempty"`
	// Answered has an entry for each waiter whose change is applied here, if it changed anything here or the waiter asked
	// this node by name. An entry leaves when its waiter is gone.
	Answered map[string]Answer `json:"answered,omitempty"`
	// Serves are the switches whose workloads here are told what their switch says (HostConfig), each with the revision of the
	// switch that is told.
	Serves map[string]int64 `json:"serves,omitempty"`
	// Behind says why Applied does not advance; empty when all is well.
	Behind string `json:"behind,omitempty"`
}

// Answer is what a node says to somebody who waits for a change.
type Answer struct {
	// Affected: the change changed something on this node.
	Affected bool `json:"affected,omitempty"`
	// Refused is what the switch did not take of what the change is about.
	Refused []Problem `json:"refused,omitempty"`
}

// Unreachable is the reason of a problem with a chassis whose tunnel does not answer, though it did (BFD, RFC 5880).
const Unreachable = "the tunnel to it does not answer (BFD is down)"
