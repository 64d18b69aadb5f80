// Package bench holds the benchmarks of tuplenet. Figures are compared within one run, never asserted as time.
// `make bench` runs them all.
package bench
