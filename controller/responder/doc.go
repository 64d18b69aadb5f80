// Package responder makes the packets that a node answers with on behalf of the network's routers and ports: ICMP errors
// for packets that were punted to the daemon, and the announcements of addresses that moved (gratuitous ARP, unsolicited
// neighbour advertisement).
//
// Everything here is a pure function from bytes to bytes, and the bytes may come from a hostile tenant: nothing panics
// on any input. It may not send, keep state or know logical objects; the controller decides when to answer, from which
// address and out of which port.
package responder
