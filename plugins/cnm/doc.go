// Package cnm is the network driver and the address driver of Docker (the remote drivers of its Container Network Model): what
// the engine asks of it over a Unix socket becomes switches and ports in the store, and interfaces made by plugins/plug.
//
// The book of addresses is the store's: the port is the allocation. What the engine will not say again when it asks for
// a container, the gateway above all, is kept in a note of the store for each network. Nothing is kept on the host but the
// record in the port of Open vSwitch. A call of the engine ends within Budget, whatever is down, and never makes a call to
// the engine; only collecting garbage asks it what it knows, between calls.
//
// cmd/tpcnm calls it.
package cnm
