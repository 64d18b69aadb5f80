package model

import "fmt"

// PinProblem says why a router works nowhere, given the chassis that it is pinned to, nil if there is none of that name. Empty: it is
// not pinned, or it works there.
func (r *LogicalRouter) PinProblem(c *Chassis) string {
	switch {
	case r.Chassis == "":
		return ""
	case c == nil:
		return fmt.Sprintf("pinned to chassis %q, which does not exist", r.Chassis)
	case !c.Gateway:
		return fmt.Sprintf("pinned to chassis %q, which is not a gateway (start its daemon with GATEWAY=1)", r.Chassis)
	}
	return ""
}
