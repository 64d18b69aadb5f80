package of

import (
	"errors"
	"fmt"
)

// checker holds what the match of a flow says about the packet, for the prerequisites of its terms and actions.
// Numbers are -1 while nothing is known.
type checker struct {
	loose                                bool // no match is known: everything may be present
	depth                                int  // of clones
	ethType, ipProto, icmpType, icmpCode int
	ctProto                              int
	hasCT                                bool // ct_state says that there is a connection
	exec                                 bool // among the actions that write into the connection
}

// newChecker knows nothing yet.
func newChecker() checker {
	return checker{ethType: -1, ipProto: -1, icmpType: -1, icmpCode: -1, ctProto: -1}
}

// check tells what makes a flow impossible to install.
func (f Flow) check() error {
	if f.Table > MaxTable {
		return fmt.Errorf("table %d does not exist", f.Table)
	}
	c := newChecker()
	if err := c.match(f.Match); err != nil {
		return err
	}
	if n := len(f.Actions); n > 0 {
		if g, ok := f.Actions[n-1].(Goto); ok && g.Table <= f.Table {
			return fmt.Errorf("goto_table:%d does not lead to a later table", g.Table)
		}
	}
	return c.actions(f.Actions, true)
}

// match checks the terms in their order and remembers what later ones need.
func (c *checker) match(m Match) error {
	var regs uint32 // registers that are matched, a bit a 32-bit register
	for i := range m {
		t := &m[i]
		if t.Field >= numFields {
			return fmt.Errorf("unknown field %d", t.Field)
		}
		if i > 0 && m[i-1].Field >= t.Field {
			return fmt.Errorf("match is not sorted by field at %s", t.Field)
		}
		if err := checkTerm(t); err != nil {
			return err
		}
		if err := c.prereq(t.Field); err != nil {
			return err
		}
		r := registers(t.Field)
		if regs&r != 0 {
			return fmt.Errorf("%s overlaps another register of the match", t.Field)
		}
		regs |= r
		c.learn(t)
	}
	return nil
}

// checkTerm checks a value against its mask and both against the field.
func checkTerm(t *Term) error {
	full := t.Field.Mask()
	switch {
	case t.Mask.IsZero():
		return fmt.Errorf("%s: empty mask", t.Field)
	case !t.Mask.And(full.Not()).IsZero():
		return fmt.Errorf("%s: mask is wider than %d bits", t.Field, t.Field.Bits())
	case !t.Value.And(t.Mask.Not()).IsZero():
		return fmt.Errorf("%s: value %s has bits outside of the mask", t.Field, appendHex(nil, t.Value))
	case t.Mask != full && !fields[t.Field].Maskable:
		return fmt.Errorf("%s can not be matched or set in part", t.Field)
	case t.Field == ARPOp && t.Value.Lo > 0xff:
		return fmt.Errorf("%s is above 255", t.Field)
	case t.Field == IPFrag && fragName(t.Value.Lo, t.Mask.Lo) == "":
		return fmt.Errorf("%s: %d/%d has no name in OVS", t.Field, t.Value.Lo, t.Mask.Lo)
	case t.Field == CTState && (t.Value.Lo > 0xff || t.Mask.Lo > 0xff && t.Mask != full):
		return fmt.Errorf("%s: unknown bits in %#x/%#x", t.Field, t.Value.Lo, t.Mask.Lo)
	}
	return nil
}

// registers is the set of 32-bit registers that a field covers.
func registers(f Field) uint32 {
	switch {
	case f >= Reg0 && f <= Reg15:
		return 1 << (f - Reg0)
	case f >= XReg0 && f <= XReg7:
		return 3 << (2 * (f - XReg0))
	case f >= XXReg0 && f <= XXReg3:
		return 15 << (4 * (f - XXReg0))
	}
	return 0
}

func (c *checker) learn(t *Term) {
	switch v := int(t.Value.Lo); t.Field {
	case EthType:
		c.ethType = v
	case IPProto:
		c.ipProto = v
	case ICMPv6Type:
		c.icmpType = v
	case ICMPv6Code:
		c.icmpCode = v
	case CTNwProto:
		c.ctProto = v
	case CTState:
		const valid = CTNew | CTEst | CTRel | CTRpl | CTSNAT | CTDNAT
		set, clear := t.Value.Lo, t.Mask.Lo&^t.Value.Lo
		c.hasCT = set&valid != 0 || set&CTTrk != 0 && clear&CTInv != 0
	}
}

// holds tells whether the match fulfils a prerequisite.
func (c *checker) holds(p Prereq) bool {
	v4, v6 := c.ethType == ethIPv4, c.ethType == ethIPv6
	ip := v4 || v6
	// OVS counts a message as neighbour discovery only if its code is 0 or not matched.
	nd := v6 && c.ipProto == protoICMPv6 && c.icmpCode <= 0
	switch p {
	case NoPrereq:
		return true
	case NeedIPv4:
		return v4
	case NeedIPv6:
		return v6
	case NeedIP:
		return ip
	case NeedARP:
		return c.ethType == ethARP
	case NeedTCP:
		return ip && c.ipProto == protoTCP
	case NeedUDP:
		return ip && c.ipProto == protoUDP
	case NeedSCTP:
		return ip && c.ipProto == protoSCTP
	case NeedICMP:
		return v4 && c.ipProto == protoICMP
	case NeedICMPv6:
		return v6 && c.ipProto == protoICMPv6
	case NeedND:
		return nd && (c.icmpType == ndSolicit || c.icmpType == ndAdvertise)
	case NeedNDSol:
		return nd && c.icmpType == ndSolicit
	case NeedNDAdv:
		return nd && c.icmpType == ndAdvertise
	case NeedCT:
		return c.hasCT
	case NeedCTIPv4:
		return c.hasCT && v4
	case NeedCTIPv6:
		return c.hasCT && v6
	case NeedCTPorts:
		return c.hasCT && (c.ctProto == protoTCP || c.ctProto == protoUDP || c.ctProto == protoSCTP)
	}
	return false
}

func (c *checker) prereq(f Field) error {
	if p := fields[f].Prereq; p != NoPrereq && !c.loose && !c.holds(p) {
		return fmt.Errorf("%s needs %s in the match", f, p)
	}
	return nil
}

// String says what has to be matched.
func (p Prereq) String() string {
	return [numPrereqs]string{"nothing", "IPv4", "IPv6", "IPv4 or IPv6", "ARP", "TCP", "UDP", "SCTP", "ICMP", "ICMPv6",
		"a neighbour solicitation or advertisement", "a neighbour solicitation", "a neighbour advertisement",
		"a connection (ct_state)", "a connection (ct_state) and IPv4", "a connection (ct_state) and IPv6",
		"a connection (ct_state) and ct_nw_proto of TCP, UDP or SCTP"}[p]
}

// actions checks a list; only that of a flow (top) may begin with meters and end in a Goto.
func (c *checker) actions(as []Action, top bool) error {
	for i, a := range as {
		switch a.(type) {
		case Goto:
			if !top || i != len(as)-1 {
				return errors.New("goto_table must be the last action of a flow")
			}
		case MeterAction:
			if !top || i != 0 {
				return errors.New("meter must be the first action of a flow")
			}
		}
		if err := c.action(a); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) action(a Action) error {
	switch a := a.(type) {
	case CTClear:
		return nil
	case SetField:
		return c.setField(&a)
	case Resubmit:
		return checkTable(a.Table)
	case Goto:
		return checkTable(a.Table)
	case CopyField:
		return c.copyField(a)
	case Output:
		return checkPort(a.Port)
	case OutputField:
		if a.Src.Bits > 32 {
			return fmt.Errorf("output of %d bits", a.Src.Bits)
		}
		return c.source(a.Src)
	case GroupAction:
		if a.ID > maxGroupID {
			return fmt.Errorf("group id is above %#x", uint32(maxGroupID))
		}
		return nil
	case MeterAction:
		if a.ID == 0 || a.ID > maxMeterID {
			return fmt.Errorf("meter id %d is out of range", a.ID)
		}
		return nil
	case DecTTL:
		return c.need("dec_ttl", NeedIP)
	case Push:
		return c.source(a.Src)
	case Pop:
		return c.target(a.Dst)
	case CheckPktLarger:
		if a.Dst.Bits != 1 || registers(a.Dst.Field) == 0 {
			return errors.New("check_pkt_larger needs one bit of a register")
		}
		return c.target(a.Dst)
	case Controller:
		if a.MeterID > maxMeterID {
			return fmt.Errorf("meter id %d is out of range", a.MeterID)
		}
		return nil
	case CT:
		return c.ct(a)
	case Learn:
		return c.learnt(a)
	case Clone:
		return c.clone(a.Actions)
	}
	return fmt.Errorf("unknown action %T", a)
}

func (c *checker) clone(as []Action) error {
	if c.depth++; c.depth > maxNesting {
		return errors.New("clone: nested too deeply")
	}
	err := c.actions(as, false)
	c.depth--
	return err
}

// MaxTable is the highest table for flows of controllers: OVS keeps table 254 for itself.
const MaxTable = 253

const (
	maxPort    = 0xfeff
	maxGroupID = 0xfffffeff
	maxMeterID = 0xffff0000
)

func checkTable(t uint8) error {
	if t > MaxTable {
		return fmt.Errorf("table %d does not exist", t)
	}
	return nil
}

// checkPort knows the ports that OVS has: 16 bits and the reserved ones that a packet may be sent to.
func checkPort(p uint32) error {
	switch {
	case p >= 1 && p <= maxPort:
		return nil
	case p == PortController:
		return errors.New("output to the controller: use Controller")
	case p >= PortInPort && p <= PortLocal:
		return nil
	}
	return fmt.Errorf("port %d does not exist", p)
}

func (c *checker) need(what string, p Prereq) error {
	if !c.loose && !c.holds(p) {
		return fmt.Errorf("%s needs %s in the match", what, p)
	}
	return nil
}

func (c *checker) setField(a *SetField) error {
	if a.Field >= numFields {
		return fmt.Errorf("set_field of unknown field %d", a.Field)
	}
	if err := c.writable(a.Field); err != nil {
		return err
	}
	t := Term(*a)
	if err := checkTerm(&t); err != nil {
		return fmt.Errorf("set_field: %w", err)
	}
	if p := a.Value.Lo; a.Field == InPort && p > maxPort && p < uint64(PortInPort) {
		return fmt.Errorf("set_field: port %d does not exist", p)
	}
	return c.prereq(a.Field)
}

// writable knows that the fields of a connection are written by its commit, and nothing else is.
func (c *checker) writable(f Field) error {
	switch connection := f == CTMark || f == CTLabel; {
	case !fields[f].Writable:
		return fmt.Errorf("%s can not be written", f)
	case connection && !c.exec:
		return fmt.Errorf("%s can only be written by the exec of ct", f)
	case !connection && c.exec:
		return fmt.Errorf("ct exec: %s does not belong to the connection", f)
	}
	return nil
}

func (c *checker) copyField(a CopyField) error {
	if a.Src.Bits != a.Dst.Bits {
		return fmt.Errorf("copy of %d bits into %d", a.Src.Bits, a.Dst.Bits)
	}
	if err := c.source(a.Src); err != nil {
		return err
	}
	return c.target(a.Dst)
}

func (c *checker) source(s Subfield) error {
	if !s.valid() {
		return fmt.Errorf("bits %d+%d are not inside of %s", s.Ofs, s.Bits, s.Field)
	}
	return c.prereq(s.Field)
}

func (c *checker) target(s Subfield) error {
	if err := c.source(s); err != nil {
		return err
	}
	if err := c.writable(s.Field); err != nil {
		return err
	}
	if int(s.Bits) != s.Field.Bits() && !fields[s.Field].Maskable {
		return fmt.Errorf("%s can not be written in part", s.Field)
	}
	return nil
}

func (c *checker) ct(a CT) error {
	if err := c.need("ct", NeedIP); err != nil {
		return err
	}
	switch {
	case a.Force && !a.Commit:
		return errors.New("ct: force without commit")
	case len(a.Exec) > 0 && !a.Commit:
		return errors.New("ct: exec without commit")
	case a.ALG != 0 && !a.Commit:
		return errors.New("ct: alg without commit")
	case a.ZoneSrc != nil && (a.ZoneSrc.Bits != 16 || a.Zone != 0):
		return errors.New("ct: a zone is a number or 16 bits of a field")
	case a.ALG != 0 && a.ALG != algFTP && a.ALG != algTFTP:
		return fmt.Errorf("ct: unknown alg %d", a.ALG)
	case a.ALG == algFTP && !c.loose && !c.holds(NeedTCP) || a.ALG == algTFTP && !c.loose && !c.holds(NeedUDP):
		return fmt.Errorf("ct: alg %d needs its transport protocol in the match", a.ALG)
	case a.Table != nil && *a.Table > MaxTable:
		return fmt.Errorf("ct: table %d does not exist", *a.Table)
	}
	if a.ZoneSrc != nil {
		if err := c.source(*a.ZoneSrc); err != nil {
			return fmt.Errorf("ct zone: %w", err)
		}
	}
	if err := c.nat(a); err != nil {
		return fmt.Errorf("ct nat: %w", err)
	}
	for _, e := range a.Exec {
		switch e.(type) {
		case SetField, CopyField:
		default:
			return fmt.Errorf("ct exec: %T is not allowed", e)
		}
		c.exec = true
		err := c.action(e)
		c.exec = false
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) nat(a CT) error {
	n := a.NAT
	if n == nil {
		return nil
	}
	switch {
	case n.Type > NATDst:
		return fmt.Errorf("unknown type %d", n.Type)
	case n.Type == NATExisting && *n != (NAT{}):
		return errors.New("a range needs src or dst")
	case n.Type != NATExisting && !a.Commit:
		return errors.New("src and dst need commit")
	case !n.AddrMin.IsValid() && (n.AddrMax.IsValid() || n.PortMin != 0 || n.PortMax != 0):
		return errors.New("a range needs an address first")
	case n.AddrMin.Is4In6() || n.AddrMax.Is4In6() || n.AddrMin.Zone() != "" || n.AddrMax.Zone() != "":
		return errors.New("addresses must be plain IPv4 or IPv6")
	case n.AddrMin.IsValid() && !c.loose && n.AddrMin.Is4() != (c.ethType == ethIPv4):
		return fmt.Errorf("%s is not of the family that is matched", n.AddrMin)
	case n.AddrMax.IsValid() && (n.AddrMax.Is4() != n.AddrMin.Is4() || !n.AddrMin.Less(n.AddrMax)):
		return fmt.Errorf("%s-%s is no range", n.AddrMin, n.AddrMax)
	case n.PortMax != 0 && (n.PortMin == 0 || n.PortMax <= n.PortMin):
		return fmt.Errorf("%d-%d is no range of ports", n.PortMin, n.PortMax)
	case n.Hash && n.Random:
		return errors.New("hash and random exclude each other")
	case (n.Hash || n.Random || n.Persistent) && !n.AddrMin.IsValid():
		return errors.New("flags need a range")
	}
	return nil
}
