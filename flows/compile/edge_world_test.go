package compile_test

import (
	"fmt"
	"net/netip"
	"strconv"

	"tuplenet/flows/compile"
	"tuplenet/model"
)

// edgeCommand reads the lines about edges:
//
//	gateway edge1 192.168.1.12
//	route LR NAME PREFIX NEXT-HOP OUT-PORT
//	nat LR NAME PREFIX TYPE EXTERNAL
//	learnt CHASSIS LR PORT IP MAC
//	watched CHASSIS PEER OFPORT
func (w *world) edgeCommand(f []string) error {
	switch f[0] {
	case "gateway":
		w.chassisIs(f, true)
	case "route":
		w.put(&model.StaticRoute{Router: f[1], Name: f[2], Prefix: netip.MustParsePrefix(f[3]), NextHop: netip.MustParseAddr(f[4]), OutPort: f[5]})
	case "nat":
		w.put(&model.NATRule{Router: f[1], Name: f[2], Prefix: netip.MustParsePrefix(f[3]), Type: model.NATType(f[4]), External: netip.MustParseAddr(f[5])})
	case "learnt":
		w.learnt[f[1]] = append(w.learnt[f[1]], compile.Neighbour{Router: f[2], Port: f[3], IP: netip.MustParseAddr(f[4]), MAC: mac(f[5])})
	case "watched":
		n, err := strconv.ParseUint(f[3], 10, 16)
		if err != nil {
			return err
		}
		if w.watched[f[1]] == nil {
			w.watched[f[1]] = map[string]uint32{}
		}
		w.watched[f[1]][f[2]] = uint32(n)
	default:
		return fmt.Errorf("unknown word %q", f[0])
	}
	return nil
}
