// Package host owns what the daemon asks of the Linux network stack of the node: addresses and devices of the underlay
// and their changes, whether the kernel has the openvswitch datapath, the offload setting of a veth, and warm neighbours
// toward the tunnel endpoints.
//
// It reads, and changes only what a caller names; it sends nothing but the small probes of Neighbours. Everything happens in the
// network namespace of the calling process. It never imports model. The node daemon and the plugins call it.
package host
