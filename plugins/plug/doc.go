// Package plug plugs the interface of a container into the integration bridge of this host, and takes it out again: a
// veth pair, namespace, MAC, MTU, addresses and routes, offloads, the port of Open vSwitch with a record of whose it is, and
// the wait until the port works everywhere. plugins/cni and plugins/cnm are built on it.
//
// It decides nothing about logical ports: which one, with which addresses and when it is added to or deleted from the store is
// its callers' business. It touches only ports that carry its record and the two ends of their veths, runs no programs
// and prints nothing.
//
// How a plugin uses it:
//
//	h, err := plug.Open(ctx, plug.Config{})     // once a process; Close at the end
//	mtu, err := h.MTU(sw, chassis)              // of the container's interface
//	done, err := h.Plug(ctx, plug.Cable{…})     // all of it or nothing
//	receipt, err := plug.Settle(ctx, st, …)     // bound here, applied everywhere
//	err = h.Unplug(ctx, port)                   // any number of times
//	for _, r := range h.Records("cni") { … plug.Gone(r) … }
//
// With Cable.Tap it is a tap device, which a virtual machine opens, in place of a veth (tpctl node tap).
//
// With Cable.Namespace the container's end is moved there, named, addressed and brought up (CNI). Without, it stays in the
// namespace of the process, down, with its MAC, MTU and offloads set, and the runtime moves it (Docker).
package plug
