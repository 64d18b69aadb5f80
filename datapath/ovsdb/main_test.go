package ovsdb

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain sees to it that no goroutine of a connection outlives its session.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
