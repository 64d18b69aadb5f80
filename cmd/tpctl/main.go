// Command tpctl is the command line of tuplenet: see package tpctl, which holds everything but the process.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"tuplenet/tpctl"
)

// version is set by the linker, see the Makefile.
var version string

// garbagePercent is how much garbage may gather, in percent of what is in use: a program that soon ends need not look for it.
const garbagePercent = 300

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := tpctl.Main(ctx, tpctl.Env{
		Args:         os.Args[1:],
		Stdin:        os.Stdin,
		Stdout:       os.Stdout,
		Stderr:       os.Stderr,
		Getenv:       os.Getenv,
		Version:      version,
		SystemConfig: "/etc/tuplenet/tpctl.yaml",
	})
	stop()
	os.Exit(code)
}
