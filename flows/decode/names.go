package decode

import (
	"fmt"
	"strconv"
	"strings"

	"tuplenet/flows/of"
	"tuplenet/flows/pipeline"
)

// Match is a match with the names of the pipeline's fields; "any" for the one that says nothing.
func Match(m of.Match) string {
	var parts []string
	var plain of.Match
	for _, t := range narrow(m) {
		named := fields(t)
		parts = append(parts, named...)
		if len(named) == 0 {
			plain = append(plain, t)
		}
	}
	if len(plain) > 0 {
		parts = append(parts, plain.String())
	}
	return join(parts, "any")
}

// fields names the parts of a term; none if a part of it has no name.
func fields(t of.Term) []string {
	var parts []string
	left := t.Mask
	for _, f := range pipeline.Fields {
		mask := f.Sub.Mask()
		if f.Sub.Field != t.Field || t.Mask.And(mask) != mask {
			continue
		}
		left = left.And(mask.Not())
		parts = append(parts, f.Name+"="+value(f, t.Value.And(mask).Shr(uint(f.Sub.Ofs))))
	}
	if !left.IsZero() {
		return nil
	}
	return parts
}

// value writes a field's value: addresses as such, numbers in decimal as in the listings of objects.
func value(f pipeline.Field, v of.Value) string {
	switch f.Name {
	case pipeline.NextHop4.Name:
		return v.Addr4().String()
	case pipeline.NextHop6.Name:
		return v.Addr6().String()
	}
	return strconv.FormatUint(v.Lo, 10)
}

// Registers are the pipeline's fields of a packet that are not zero, such as "datapath=1,in_port_key=2". Get reads a
// field of the packet. The two next hops share registers: the packet's family decides.
func Registers(get func(of.Field) of.Value) string {
	var parts []string
	v6 := get(of.EthType).Lo == 0x86dd
	for _, f := range pipeline.Fields {
		if f.Name == pipeline.NextHop4.Name && v6 || f.Name == pipeline.NextHop6.Name && !v6 {
			continue
		}
		v := get(f.Sub.Field).And(f.Sub.Mask()).Shr(uint(f.Sub.Ofs))
		if !v.IsZero() {
			parts = append(parts, f.Name+"="+value(f, v))
		}
	}
	return strings.Join(parts, ",")
}

// Actions are actions with the names of fields, tables and reasons to punt; "drop" for none.
func Actions(as []of.Action) string {
	var parts []string
	for _, a := range as {
		parts = append(parts, action(a))
	}
	return join(parts, "drop")
}

func action(a of.Action) string {
	switch a := a.(type) {
	case of.Goto:
		return "goto " + Table(a.Table)
	case of.Resubmit:
		if a.Port == of.ResubmitInPort {
			return "resubmit " + Table(a.Table)
		}
	case of.SetField:
		if parts := fields(of.Term{Field: a.Field, Value: a.Value, Mask: a.Mask}); len(parts) > 0 {
			return "set " + strings.Join(parts, ",")
		}
	case of.CopyField:
		return "copy " + subfield(a.Src) + " to " + subfield(a.Dst)
	case of.Controller:
		if len(a.Userdata) > 0 {
			return fmt.Sprintf("to daemon (%s)", punt(pipeline.Punt(a.Userdata[0])))
		}
	}
	return of.ActionsString([]of.Action{a})
}

// subfield is the name of a part of a field; the low bits of a named one count as it.
func subfield(s of.Subfield) string {
	for _, f := range pipeline.Fields {
		if f.Sub == s || f.Sub == of.Whole(s.Field) && s.Ofs == 0 {
			return f.Name
		}
	}
	if s == of.Whole(s.Field) {
		return s.Field.String()
	}
	return fmt.Sprintf("%s[%d..%d]", s.Field, s.Ofs, s.Ofs+s.Bits-1)
}

func punt(p pipeline.Punt) string {
	switch p {
	case pipeline.PuntTTL:
		return "TTL expired"
	case pipeline.PuntNoRoute:
		return "no route"
	case pipeline.PuntNoNeighbour:
		return "no neighbour"
	case pipeline.PuntPortUnreachable:
		return "port unreachable"
	case pipeline.PuntTooBig:
		return "too big"
	case pipeline.PuntNextTooBig:
		return "too big for the next network"
	case pipeline.PuntResolve:
		return "resolve next hop"
	case pipeline.PuntLearn:
		return "learn neighbour"
	case pipeline.PuntMiss:
		return "flows wanted"
	case pipeline.PuntTrace:
		return "live trace"
	case pipeline.PuntPing:
		return "renumber ping"
	case pipeline.PuntPingReply:
		return "restore ping"
	case pipeline.PuntDHCPv4:
		return "answer DHCP"
	case pipeline.PuntDHCPv6:
		return "answer DHCPv6"
	case pipeline.PuntSolicit:
		return "advertise routers"
	}
	return fmt.Sprintf("reason %d", p)
}
