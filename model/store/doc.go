// Package store keeps the objects of model in etcd. It is the only code that knows etcd: the layout of keys, the
// transactions with their preconditions and uniqueness keys, snapshots and watches by revision, leases, waiting for
// nodes, and the server that can run inside a daemon. It knows nothing of flows and switches.
//
// tpctl and plugins write intent through it, node daemons read and follow it and report through it.
package store
