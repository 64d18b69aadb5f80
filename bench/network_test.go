package bench

import (
	"bytes"
	"fmt"
	"strings"
)

// network is the deployment of the scale scenario: switches with ports each, all behind one router.
type network struct {
	switches, ports int
	dual            bool
}

// networkOf is one of so many ports, 100 on a switch.
func networkOf(size int) network {
	return network{switches: max(2, size/portsPerSwitch), ports: min(size/2, portsPerSwitch)}
}

// commands are the network as lines for tpctl.
func (n network) commands() []byte {
	var text bytes.Buffer
	fmt.Fprintln(&text, "lr add lr")
	for s := range n.switches {
		fmt.Fprintf(&text, "ls add ls%d\n", s)
		nets := fmt.Sprintf("10.%d.0.1/24", s)
		if n.dual {
			nets += fmt.Sprintf(",2001:db8:0:%x::1/64", s)
		}
		fmt.Fprintf(&text, "lr link lr ls%d %s\n", s, nets)
		for i := range n.ports {
			p := port(s, i, n.dual)
			ips := make([]string, len(p.IPs))
			for k, ip := range p.IPs {
				ips[k] = ip.String()
			}
			fmt.Fprintf(&text, "lsp add ls%d %s %s\n", s, p.Name, strings.Join(ips, ","))
		}
	}
	return text.Bytes()
}
