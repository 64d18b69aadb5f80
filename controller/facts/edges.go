package facts

import (
	"maps"
	"slices"
	"strings"

	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
	"tuplenet/model"
)

// SetNeighbours takes the complete set of neighbours learnt from the physical network.
func (f *Facts) SetNeighbours(all []compile.Neighbour) {
	now := make(map[string]compile.Neighbour, len(all))
	for _, n := range all {
		now[n.ID()] = n
		f.engine.Set(memo.Key{Kind: compile.KindNeighbour, ID: n.ID()}, n)
	}
	for id := range f.neighbours {
		if _, still := now[id]; !still {
			f.engine.Delete(memo.Key{Kind: compile.KindNeighbour, ID: id})
		}
	}
	f.neighbours = now
}

// Neighbours returns what was set last, sorted.
func (f *Facts) Neighbours() []compile.Neighbour {
	return slices.SortedFunc(maps.Values(f.neighbours), func(a, b compile.Neighbour) int { return strings.Compare(a.ID(), b.ID()) })
}

// Watched returns a copy of what was set last.
func (f *Facts) Watched() map[string]compile.Watched { return maps.Clone(f.watched) }

// Interfaces returns the OpenFlow ports of what was set last.
func (f *Facts) Interfaces() map[string]uint32 {
	ports := make(map[string]uint32, len(f.ifaces))
	for name, i := range f.ifaces {
		ports[name] = i.OFPort
	}
	return ports
}

// SetWatched takes the complete set of ports through which other chassis are watched, by the chassis' name.
func (f *Facts) SetWatched(ports map[string]compile.Watched) {
	replace(f, compile.KindWatched, f.watched, ports)
	f.watched = ports
}

// SetUplinks takes the complete set of ways to VXLAN devices of multicast networks, by the name of the device.
func (f *Facts) SetUplinks(uplinks map[string]compile.Uplink) {
	replace(f, compile.KindUplink, f.uplinks, uplinks)
	f.uplinks = uplinks
}

// Uplinks are those set last.
func (f *Facts) Uplinks() map[string]compile.Uplink { return maps.Clone(f.uplinks) }

// Behind returns the switch and the switch port that a router port leads to; nil if it leads nowhere.
func (f *Facts) Behind(rp *model.LogicalRouterPort) (*model.LogicalSwitch, *model.LogicalSwitchPort) {
	lsp, ok := f.Holder(model.ClaimPort(rp.Peer)).(*model.LogicalSwitchPort)
	if !ok || lsp.Type != model.PortRouter || lsp.Peer != rp.Name {
		return nil, nil
	}
	ls, _ := f.Object(model.Ref{Kind: model.KindSwitch, Name: lsp.Switch}).(*model.LogicalSwitch)
	return ls, lsp
}
