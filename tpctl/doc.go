// Package tpctl is the command line of tuplenet: the command tree, one file a noun. A command checks its arguments,
// builds an object of package model, hands it to package store and prints the answer; it decides nothing else.
//
// It owns the words: messages, listings, exit codes and the reference pages generated from the tree. It may not know
// etcd, Open vSwitch or the node daemon, keeps no state between commands, and touches nothing of the process but what
// Env gives it, so that tests run whole sessions inside one process. cmd/tpctl calls Main.
package tpctl

//go:generate go run ../cmd/tpctl reference ../docs/reference/tpctl
