// Package of holds the values of OpenFlow 1.5 with Open vSwitch extensions that the product uses: matches, actions,
// flows, groups and meters, their canonical wire bytes, their text and their content hash.
//
// It owns the table of fields (which OXM header, how wide, maskable, which prerequisites) and both directions of the
// encoding. It knows nothing of our tables and registers (flows/pipeline does), opens nothing, logs nothing and keeps
// no time. Compile functions build the values, datapath/ofconn sends them, flows/sim interprets them.
//
// All values are immutable once they were handed on; every function is safe for concurrent use. Formats follow
// ovs-fields(7), ovs-actions(7) and the OpenFlow 1.5.1 specification. Only actions that OpenFlow 1.5 allows exist
// here: OVS refuses the older Nicira load and move actions on such connections, so there are set_field and copy_field.
package of
