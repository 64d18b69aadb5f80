//go:build !integration

package compile_test

// How much random testing `make check` does.
const (
	editSeeds   = 60
	editSteps   = 40
	topologies  = 150
	deployments = 40
)
