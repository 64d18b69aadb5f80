package ovsdb

// OwnerKey is the key in external_ids of Port and Interface rows by which the daemon knows the ports that it made. The
// Port row decides; the Interface row carries it for people who look. Ports without it are never changed or deleted.
const OwnerKey = "tuplenet-owner"

// Facts is what the database says, at one moment. A Facts and everything that it points to is immutable, so it may be
// kept and read from any goroutine. A bridge or interface that did not change between two Facts is the same pointer
// in both: comparing pointers finds the changes.
type Facts struct {
	// SystemID is external_ids:system-id of the Open_vSwitch table, the name of the chassis; "" if not set.
	SystemID string
	// Hostname is external_ids:hostname, as the OVS start scripts write it; "" if not set.
	Hostname string
	// OVSVersion is the version as in "3.1.0" that ovs-ctl wrote when it started vswitchd; "" if nobody did. See CheckVersion.
	OVSVersion string
	// ExternalIDs is the whole external_ids map of the Open_vSwitch table.
	ExternalIDs map[string]string
	// Bridges are all OVS bridges of this host, by name.
	Bridges map[string]*Bridge
	// Interfaces are the interfaces of all bridges, by name (unique in the database).
	Interfaces map[string]*Interface
	// Failures says for each desired thing (the bridge or a port, by its name) that is not as desired why not; empty when
	// everything desired is written. Whether the switch could make a written port is in Interface.Error.
	Failures map[string]string
}

// Bridge is a row of the Bridge table.
type Bridge struct {
	Name string
	// DatapathType is "system", "netdev", … An empty column means "system" (ovs-vswitchd.conf.db(5)) and is given as such.
	DatapathType string
	// FailMode is "standalone", "secure" or "" (standalone).
	FailMode string
	// Protocols are the allowed OpenFlow versions ("OpenFlow15"), sorted; empty means the default of the switch.
	Protocols []string
}

// OFPort values of interfaces that have no port number.
const (
	OFPortUnknown = 0  // the switch has not looked at the interface yet
	OFPortFailed  = -1 // the switch could not open it; Interface.Error says why
)

// Interface is a row of the Interface table together with the bridge that it sits on.
type Interface struct {
	Name string
	// Type is "" for a system device, "internal", "geneve", "patch", …
	Type string
	// Bridge is the name of the bridge; "" for a row that no bridge holds (only for an instant).
	Bridge string
	// OFPort is the OpenFlow port number, OFPortUnknown or OFPortFailed.
	OFPort int
	// IfaceID is external_ids:iface-id, the logical switch port that the interface claims to be; "" if none.
	IfaceID     string
	ExternalIDs map[string]string
	Options     map[string]string
	// Error is why the switch could not use the interface; "" if it could.
	Error string
	// Up is true when the link state is up.
	Up bool
	// MAC is the hardware address in use, in lower case with colons; "" if not known yet.
	MAC string
	// MTU in bytes; 0 if not known (tunnels have none).
	MTU int
	// BFD is bfd_status (state, forwarding, diagnostic, …; ovs-vswitchd.conf.db(5)); empty when BFD is off.
	BFD map[string]string
	// Owner is the value of OwnerKey of the Port row; "" for ports of others.
	Owner string
}

// HasOFPort reports whether the interface has an OpenFlow port number, so that flows may name it.
func (i *Interface) HasOFPort() bool { return i != nil && i.OFPort > 0 }
