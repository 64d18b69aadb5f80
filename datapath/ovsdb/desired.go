package ovsdb

// Desired is the whole of what the daemon wants in the database. A caller may not change it after handing it to Set.
type Desired struct {
	// Bridge is the integration bridge. It is created if missing (fail mode secure, OpenFlow 1.3 and 1.5, no in-band
	// control); an existing one keeps its datapath type, and gets fail mode and protocols set right. It is never deleted.
	Bridge string
	// DatapathType is used only when the bridge has to be created: "system" or "netdev" (see ChooseDatapath).
	DatapathType string
	// Ports are all ports wanted, on the integration bridge and on others. Ports that carry our owner key and are not in
	// this list, or are on another bridge than they should be, are deleted.
	Ports []Port
	// IPFIX are the settings of the integration bridge; nil: none of ours.
	IPFIX *IPFIX
}

// Port is a wanted port with one interface of the same name.
type Port struct {
	// Name of the port and its interface, at most 15 bytes where it is a network device.
	Name string
	// Bridge is where the port belongs; "" is the integration bridge. Another bridge is the operator's: it is never
	// created, changed or deleted. While it does not exist, the port is in Facts.Failures.
	Bridge string
	// Type of the interface: "geneve", "vxlan", "internal", "patch", …
	Type string
	// Owner is what wants the port, in words for people; the value of OwnerKey. "" is written as "tuplenet".
	Owner string
	// Options is the complete options column, as in {"remote_ip": "flow", "key": "flow"}.
	Options map[string]string
	// ExternalIDs are further external_ids of the interface, as in {"iface-id": …}. The owner key is added.
	ExternalIDs map[string]string
	// BFD is the complete bfd column, as in {"enable": "true", "min_rx": "100"}.
	BFD map[string]string
	// OFPortRequest is the wanted OpenFlow port number, 1…65279; 0 leaves the choice to the switch.
	OFPortRequest int
}
