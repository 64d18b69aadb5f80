// Package lab makes small fleets of hosts on one machine: each host has its own network, process, mount and host name
// namespaces, its own Open vSwitch with the userspace datapath, and runs the built binaries of this project. Tests and
// `tpctl sandbox` stand on it.
//
// It owns what is under its directory (/tmp/tn-<name>), the processes that it started, and their namespaces, and
// nothing else: it never touches the machine's own interfaces, addresses, switches or services. It knows nothing of the
// product's packages: like an operator it types commands on hosts and looks at packets.
//
// A host is what a shell on a real one would show: /run is its own, so `ovs-vsctl`, `ip netns add` and the daemon's
// sockets are where users expect them, and labs run side by side without seeing one another. Ending the first process of
// a host ends everything on it, so a lab comes down completely, and one whose owner was killed is cleared at the next
// start of the same name.
//
// A Lab and its hosts may be used by several goroutines, except that Down and Detach end its use.
package lab
