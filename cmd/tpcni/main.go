// Command tpcni is the CNI plugin: runtimes such as kubelet's run it with a command in its environment and a network
// configuration on standard input. It writes the result, or an error as JSON, to standard output and ends with 0 or 1. SIGTERM
// and SIGINT make it undo what it has begun.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/containernetworking/cni/pkg/skel"

	"tuplenet/plugins/cni"
)

// version is set by the build.
var version = "unknown"

func main() {
	// Further signals change nothing: some senders repeat them, and what is undone then must be undone to its end, which is near.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	skel.PluginMainFuncs(cni.Funcs(ctx, os.Stdout), cni.Versions(), "tpcni, the CNI plugin of tuplenet, version "+version)
}
