// Package e2e holds the tests that run the built programs in labs of several hosts and look at packets, listings and
// exit codes, as a user does. It may import anything and is imported by nothing.
package e2e
