// Package multicast keeps the kernel devices of multicast VXLAN networks (RFC 7348 section 4.2): of each a VXLAN device that
// joins the network's IPv6 group on a device of the underlay, a Linux bridge that it is in, and a veth pair whose one end is in that
// bridge and whose other end the integration bridge takes as a port.
//
// Set gives the whole of what is wanted; the difference to what is there is made, whoever made or damaged it, so nothing has to
// be remembered. What is ours carries Mark as its device group from birth on; a device without it is never touched, and is a
// problem where it is in the way. It never imports model; the node daemon calls it.
package multicast
