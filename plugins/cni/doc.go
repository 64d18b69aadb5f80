// Package cni is the CNI plugin (https://www.cni.dev/docs/spec/, versions 0.3.0 to 1.1.0): what a container runtime asks of it
// becomes a port of a logical switch in the store and an interface in the container's namespace, made by plugins/plug.
//
// There is no second book of addresses: the port in the store is the allocation. It carries tags that say for which
// network, host, container and interface it was made. The package writes the result of a command to the writer it is
// given, errors are those of the specification, and nothing else is ever written there. It keeps nothing on the host.
//
// cmd/tpcni calls it, once a process.
package cni
