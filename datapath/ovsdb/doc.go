// Package ovsdb owns the daemon's session with the local ovsdb-server: it turns the Open_vSwitch database into
// immutable Facts, and it makes the integration bridge and the ports that the daemon wants (Desired).
//
// It may not decide anything: which ports are wanted, what an interface means and which flows follow from it is the
// business of its callers. It touches the one bridge named in Desired and, on any bridge, ports that carry our owner key
// (external_ids:tuplenet-owner of the Port row); everything else in the database is only read. It never imports
// model, and it is the only package that knows libovsdb.
//
// The node daemon (controller) calls it: New, Run in a goroutine, Set whenever the desired ports change.
package ovsdb
