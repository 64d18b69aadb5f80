// Command tpipam-netbox is the driver of pools for NetBox: put it, or a link to it, into /etc/tuplenet/ipam.d under the name of the
// driver. NETBOX_URL and NETBOX_TOKEN in the environment say where NetBox is.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"tuplenet/plugins/ipam/netbox"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg := netbox.Config{URL: os.Getenv("NETBOX_URL"), Token: os.Getenv("NETBOX_TOKEN")}
	if err := netbox.Serve(ctx, cfg, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, strings.Join(strings.Fields(err.Error()), " "))
		os.Exit(1)
	}
}
