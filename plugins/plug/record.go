package plug

import (
	"errors"
	"maps"

	"tuplenet/datapath/host"
	"tuplenet/datapath/ovsdb"
)

// Record says whose a plugged port is. It is kept in external_ids of the port, so that after a crash of anything it can be told
// what the port was for.
type Record struct {
	Plugin    string // who plugged it: "cni", "cnm"
	Network   string // the runtime's name of the network
	Container string // the runtime's id of the container or endpoint
	Interface string // the container's interface, as in eth0; may be empty
	Switch    string // the logical switch
	Port      string // the logical port (iface-id), unique in the deployment
	Device    string // the host's end of the veth; set by Plug
	up        bool   // Open vSwitch sees the device, and both its ends are up
}

// Keys in external_ids. iface-id is what the daemon goes by.
const (
	keyPlugin    = "tuplenet-plugin"
	keyNetwork   = "tuplenet-network"
	keyContainer = "tuplenet-container"
	keyInterface = "tuplenet-interface"
	keySwitch    = "tuplenet-switch"
	keyPort      = "iface-id"
)

func (r Record) externalIDs() map[string]string {
	ids := map[string]string{keyPlugin: r.Plugin, keyNetwork: r.Network, keyContainer: r.Container,
		keyInterface: r.Interface, keySwitch: r.Switch, keyPort: r.Port}
	maps.DeleteFunc(ids, func(_, v string) bool { return v == "" })
	return ids
}

func recordOf(i *ovsdb.Interface) (r Record, ok bool) {
	ids := i.ExternalIDs
	if ids[keyPlugin] == "" || ids[keyPort] == "" {
		return r, false
	}
	return Record{Plugin: ids[keyPlugin], Network: ids[keyNetwork], Container: ids[keyContainer], Interface: ids[keyInterface],
		Switch: ids[keySwitch], Port: ids[keyPort], Device: i.Name, up: i.Up}, true
}

// Gone tells that the container of a plugged port does not exist any more: its end of the veth went with its namespace, and
// the host's end with that. A port is recorded after its veth was made, so one that is just being plugged is never gone;
// what lives has its device. In doubt (the kernel cannot be asked, Open vSwitch sees the device) it is not gone.
func Gone(r Record) bool {
	if r.up {
		return false
	}
	_, err := host.DeviceNamed(r.Device)
	return errors.Is(err, host.ErrNoDevice)
}

// Waiting tells that the container's end of a plugged port is in the namespace of this process: the runtime has not moved it
// into a container, or has moved it back. A Plug with Cable.Namespace never leaves it so.
func Waiting(r Record) bool {
	if len(r.Device) < 2 {
		return false
	}
	_, err := host.DeviceNamed(insideName(r.Device))
	return err == nil
}
