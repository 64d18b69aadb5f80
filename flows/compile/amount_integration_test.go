//go:build integration

package compile_test

// How much random testing `make test` does.
const (
	editSeeds         = 300
	editSteps         = 100
	topologies        = 400
	deployments       = 250
	oracleTopologies  = 150
	oracleDeployments = 120
)
