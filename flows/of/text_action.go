package of

import (
	"encoding/hex"
	"net/netip"
	"strconv"
)

// ActionsString is the text of a list of actions; no actions are "drop".
func ActionsString(as []Action) string { return string(appendActionsText(nil, as)) }

// appendActionsText writes a list of actions as after "actions=".
func appendActionsText(b []byte, as []Action) []byte {
	if len(as) == 0 {
		return append(b, "drop"...)
	}
	return appendList(b, as)
}

func appendList(b []byte, as []Action) []byte {
	for i, a := range as {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendActionText(b, a)
	}
	return b
}

func appendActionText(b []byte, a Action) []byte {
	switch a := a.(type) {
	case Output:
		if a.Port >= PortInPort {
			return appendPort(b, a.Port)
		}
		return appendNumber(append(b, "output:"...), uint64(a.Port))
	case OutputField:
		return appendSubfieldText(append(b, "output:"...), a.Src)
	case Controller:
		return appendControllerText(b, a)
	case SetField:
		b = append(appendSetFieldText(append(b, "set_field:"...), a), "->"...)
		return append(b, a.Field.String()...)
	case CopyField:
		b = append(appendSubfieldText(append(b, "move:"...), a.Src), "->"...)
		return appendSubfieldText(b, a.Dst)
	case Resubmit:
		b = append(b, "resubmit("...)
		if a.Port != ResubmitInPort {
			b = appendNumber(b, uint64(a.Port))
		}
		return append(appendNumber(append(b, ','), uint64(a.Table)), ')')
	case Goto:
		return appendNumber(append(b, "goto_table:"...), uint64(a.Table))
	case GroupAction:
		return appendNumber(append(b, "group:"...), uint64(a.ID))
	case MeterAction:
		return appendNumber(append(b, "meter:"...), uint64(a.ID))
	case DecTTL:
		return append(b, "dec_ttl"...)
	case CTClear:
		return append(b, "ct_clear"...)
	case CT:
		return appendCTText(b, a)
	case Push:
		return appendSubfieldText(append(b, "push:"...), a.Src)
	case Pop:
		return appendSubfieldText(append(b, "pop:"...), a.Dst)
	case CheckPktLarger:
		b = appendNumber(append(b, "check_pkt_larger("...), uint64(a.Bytes))
		return appendSubfieldText(append(b, ")->"...), a.Dst)
	case Learn:
		return appendLearnText(b, a)
	case Clone:
		return append(appendList(append(b, "clone("...), a.Actions), ')')
	}
	return append(b, "?"...)
}

func appendNumber(b []byte, v uint64) []byte { return strconv.AppendUint(b, v, 10) }

// appendSetFieldText writes the value; flags are numbers here.
func appendSetFieldText(b []byte, a SetField) []byte {
	if a.Field == InPort {
		return appendPort(b, uint32(a.Value.Lo))
	}
	return appendMaskedText(b, a.Field, a.Value, a.Mask)
}

// subfieldName is the name of a field where bits of it are meant: in_port would be the 16-bit form there.
func subfieldName(f Field) string {
	if f == InPort {
		return "in_port_oxm"
	}
	return f.String()
}

func appendSubfieldText(b []byte, s Subfield) []byte {
	b = append(append(b, subfieldName(s.Field)...), '[')
	// The whole of tun_metadata0 is 124 bytes for ovs-ofctl, which does not ask for the mapping.
	if s != Whole(s.Field) || s.Field == TunMetadata0 {
		b = appendNumber(b, uint64(s.Ofs))
		if s.Bits > 1 {
			b = appendNumber(append(b, ".."...), uint64(s.Ofs)+uint64(s.Bits)-1)
		}
	}
	return append(b, ']')
}

// reasonNames are the packet-in reasons in text, by number.
var reasonNames = [...]string{"no_match", "action", "invalid_ttl", "action_set", "group", "packet_out"}

func appendControllerText(b []byte, a Controller) []byte {
	b = append(b, "controller("...)
	start := len(b)
	arg := func(name string) {
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(append(b, name...), '=')
	}
	if a.Reason != ReasonAction {
		arg("reason")
		if int(a.Reason) < len(reasonNames) {
			b = append(b, reasonNames[a.Reason]...)
		} else {
			b = appendNumber(b, uint64(a.Reason))
		}
	}
	if a.MaxLen != 0xffff {
		arg("max_len")
		b = appendNumber(b, uint64(a.MaxLen))
	}
	if a.ID != 0 {
		arg("id")
		b = appendNumber(b, uint64(a.ID))
	}
	for i, c := range a.Userdata {
		if i == 0 {
			arg("userdata")
		} else {
			b = append(b, '.')
		}
		b = hex.AppendEncode(b, []byte{c})
	}
	if a.MeterID != 0 {
		arg("meter_id")
		b = appendNumber(b, uint64(a.MeterID))
	}
	return append(b, ')')
}

func appendCTText(b []byte, a CT) []byte {
	b = append(b, "ct("...)
	start := len(b)
	arg := func(s string) {
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(b, s...)
	}
	if a.Commit {
		arg("commit")
	}
	if a.Force {
		arg("force")
	}
	if a.Table != nil {
		arg("table=")
		b = appendNumber(b, uint64(*a.Table))
	}
	switch {
	case a.ZoneSrc != nil:
		arg("zone=")
		b = appendSubfieldText(b, *a.ZoneSrc)
	case a.Zone != 0:
		arg("zone=")
		b = appendNumber(b, uint64(a.Zone))
	}
	if a.NAT != nil {
		arg("nat")
		b = appendNATText(b, a.NAT)
	}
	if len(a.Exec) > 0 {
		arg("exec(")
		b = append(appendList(b, a.Exec), ')')
	}
	switch a.ALG {
	case algFTP:
		arg("alg=ftp")
	case algTFTP:
		arg("alg=tftp")
	}
	return append(b, ')')
}

func appendNATText(b []byte, n *NAT) []byte {
	switch n.Type {
	case NATSrc:
		b = append(b, "(src"...)
	case NATDst:
		b = append(b, "(dst"...)
	default:
		return b
	}
	if n.AddrMin.IsValid() {
		b = appendNATAddr(append(b, '='), n.AddrMin, n.PortMin != 0)
		if n.AddrMax.IsValid() {
			b = appendNATAddr(append(b, '-'), n.AddrMax, n.PortMin != 0)
		}
	}
	if n.PortMin != 0 {
		b = appendNumber(append(b, ':'), uint64(n.PortMin))
		if n.PortMax != 0 {
			b = appendNumber(append(b, '-'), uint64(n.PortMax))
		}
	}
	if n.Persistent {
		b = append(b, ",persistent"...)
	}
	if n.Hash {
		b = append(b, ",hash"...)
	}
	if n.Random {
		b = append(b, ",random"...)
	}
	return append(b, ')')
}

// appendNATAddr puts IPv6 addresses into brackets when a port follows.
func appendNATAddr(b []byte, a netip.Addr, port bool) []byte {
	if a.Is4() || !port {
		return a.AppendTo(b)
	}
	return append(a.AppendTo(append(b, '[')), ']')
}

// String is the canonical text of a group, as `ovs-ofctl -O OpenFlow15 add-group` reads it.
func (g Group) String() string {
	b := make([]byte, 0, 128+64*len(g.Buckets))
	b = appendNumber(append(b, "group_id="...), uint64(g.ID))
	b = append(append(b, ",type="...), g.Type.String()...)
	if g.Hash != nil {
		b = append(append(b, ",selection_method="...), g.Hash.Method...)
		for i, f := range g.Hash.sorted() {
			sep := ","
			if i == 0 {
				sep = ",fields("
			}
			b = append(append(b, sep...), subfieldName(f)...)
		}
		if len(g.Hash.Fields) > 0 {
			b = append(b, ')')
		}
	}
	numbered := g.numbered()
	for i, k := range g.Buckets {
		id := k.ID
		if !numbered {
			id = uint32(i)
		}
		b = appendBucketText(b, g.Type, id, k)
	}
	return string(b)
}

func appendBucketText(b []byte, t GroupType, id uint32, k Bucket) []byte {
	b = appendNumber(append(b, ",bucket=bucket_id:"...), uint64(id))
	if t == GroupSelect {
		b = appendNumber(append(b, ",weight:"...), uint64(max(k.Weight, 1)))
	}
	if k.WatchPort != 0 {
		b = appendPort(append(b, ",watch_port:"...), k.WatchPort)
	}
	if k.WatchGroup != 0 {
		b = appendNumber(append(b, ",watch_group:"...), uint64(k.WatchGroup))
	}
	return appendActionsText(append(b, ",actions="...), k.Actions)
}
