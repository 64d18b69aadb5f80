package of

// A switch does not show a flow in the bytes in which it was sent: Open vSwitch joins neighbouring registers in a match, and
// fills in what a mask leaves out. The functions here see through that; datapath/ofconn holds them against a real switch.

// Plain is the match as the switch understands it, whichever way it is written: registers are split into those of 32 bits, and
// bits of ct_state that do not exist are left out of its mask.
func (m Match) Plain() Match {
	var p Match
	for _, t := range m {
		switch {
		case t.Field >= XReg0 && t.Field <= XReg7:
			p = p.split(Reg0+2*(t.Field-XReg0), 2, t)
		case t.Field >= XXReg0 && t.Field <= XXReg3:
			p = p.split(Reg0+4*(t.Field-XXReg0), 4, t)
		case t.Field == CTState && t.Mask == U(0xff):
			p = p.Eq(t.Field, t.Value)
		default:
			p = p.With(t)
		}
	}
	return p
}

// split writes a term of n registers as n terms.
func (m Match) split(first Field, n int, t Term) Match {
	for i := range n {
		shift := uint(32 * (n - 1 - i))
		m = m.Masked(first+Field(i), t.Value.Shr(shift).And(Ones(32)), t.Mask.Shr(shift).And(Ones(32)))
	}
	return m
}

// Same tells whether two matches mean the same packets.
func (m Match) Same(o Match) bool {
	a, b := m.Plain(), o.Plain()
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// SameActions tells whether two lists of actions do the same, one of them perhaps as a switch shows it.
func SameActions(a, b []Action) bool { return ActionsString(a) == ActionsString(b) }
