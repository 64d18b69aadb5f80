package lab

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// Underlay tells which addresses the hosts have on the underlay network.
type Underlay string

// Underlays.
const (
	UnderlayIPv4 Underlay = "v4"
	UnderlayIPv6 Underlay = "v6"
	UnderlayDual Underlay = "dual"
)

// Variables of the environment by which all labs of a run are put on another ground, as the matrix of `make test-full` does.
const (
	// UnderlayVariable names the underlay of labs whose configuration does not.
	UnderlayVariable = "TUPLENET_UNDERLAY"
	// EncapVariable is the daemon's own: what it offers unless it is told otherwise.
	EncapVariable = "TUPLENET_ENCAP"
)

// EtcdPlace tells where StartEtcd runs etcd.
type EtcdPlace string

// Places of etcd.
const (
	// EtcdManagement: on the lab's own node, reached over the management network, so that it survives cuts of the
	// underlay. The management network is plain kernel veths, apart from Open vSwitch.
	EtcdManagement EtcdPlace = "management"
	// EtcdFirstHost: on the first host, reached over the underlay, as in the tutorial. There is no management network.
	EtcdFirstHost EtcdPlace = "first-host"
)

// Config describes a lab. Only Name is required.
type Config struct {
	// Name is part of all names and of the directory; labs of different names run side by side.
	Name string
	// Hosts are the names of the hosts; default alice and bob. Host i has the underlay addresses 192.168.1.(10+i)
	// and 2001:db8:ff::(10+i), in hexadecimal digits that read the same.
	Hosts []string
	// Edges are those of Hosts that lead to the outside world, which exists if there are any; see Outside.
	Edges []Edge
	// Underlay is what UnderlayVariable says by default, else UnderlayIPv4.
	Underlay Underlay
	// UnderlayMTU in bytes; default 1500.
	UnderlayMTU int
	// Bridge is the userspace bridge that holds the underlay interface and the host's addresses; default br-phy.
	Bridge string
	// Bin is the directory with tpctl and tuplenet; needed for Tpctl, StartDaemon and StartEtcd.
	Bin string
	// Dir is the parent of the lab's directory; default /tmp. Must be short: paths of unix sockets end at 108 bytes.
	Dir string
	// Etcd is EtcdManagement by default.
	Etcd EtcdPlace
	// EtcdCommand starts an etcd server; `--data DIR --listen URL` are added. Default: Bin/tpctl sandbox etcd.
	EtcdCommand []string
	// Prefix is the key prefix in etcd given to the programs; default /tuplenet.
	Prefix string
	// KernelRoutes has the switches copy the kernel's routes, which is their default: see Host.StartSwitch for why a lab does
	// otherwise. Tunnels that name their own address (options:local_ip) need it.
	KernelRoutes bool
	// Logger receives what the lab does, at Debug; default: nothing.
	Logger *slog.Logger
}

// settle is how long anything local may take to come up (a switch, a daemon, a namespace) on a machine so busy that others wait for it,
// too: only what hangs reaches it.
const settle = time.Minute

var (
	labName  = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,19}$`)
	hostName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,11}$`)
)

// withDefaults checks the configuration and fills in what was left empty.
func (c Config) withDefaults() (Config, error) {
	if !labName.MatchString(c.Name) {
		return c, fmt.Errorf("lab name %q: 1-20 lower case letters, digits and dashes", c.Name)
	}
	if len(c.Hosts) == 0 {
		c.Hosts = []string{"alice", "bob"}
	}
	if len(c.Hosts) > 200 {
		return c, fmt.Errorf("%d hosts in a lab: at most 200", len(c.Hosts))
	}
	seen := map[string]bool{wireName: true, outsideName: true}
	for _, h := range c.Hosts {
		if !hostName.MatchString(h) || seen[h] {
			return c, fmt.Errorf("host name %q: 1-12 lower case letters, digits and dashes, unique, not %q or %q", h, wireName, outsideName)
		}
		seen[h] = true
	}
	edges, err := c.edgesWithDefaults()
	if err != nil {
		return c, err
	}
	c.Edges = edges
	c.Underlay = cmp.Or(c.Underlay, Underlay(os.Getenv(UnderlayVariable)), UnderlayIPv4)
	switch c.Underlay {
	case UnderlayIPv4, UnderlayIPv6, UnderlayDual:
	default:
		return c, fmt.Errorf("underlay %q is none of %s, %s, %s", c.Underlay, UnderlayIPv4, UnderlayIPv6, UnderlayDual)
	}
	c.UnderlayMTU = cmp.Or(c.UnderlayMTU, 1500)
	c.Bridge = cmp.Or(c.Bridge, "br-phy")
	c.Dir = cmp.Or(c.Dir, "/tmp")
	c.Etcd = cmp.Or(c.Etcd, EtcdManagement)
	c.Prefix = cmp.Or(c.Prefix, "/tuplenet")
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Bin != "" {
		bin, err := filepath.Abs(c.Bin)
		if err != nil {
			return c, fmt.Errorf("directory of the binaries: %w", err)
		}
		c.Bin = bin
	}
	if len(c.EtcdCommand) == 0 && c.Bin != "" {
		c.EtcdCommand = []string{filepath.Join(c.Bin, "tpctl"), "sandbox", "etcd"}
	}
	if os.Geteuid() != 0 {
		return c, errors.New("a lab needs root, for network namespaces: try sudo")
	}
	return c, nil
}

// path is the lab's directory.
func (c Config) path() string { return labPath(c.Dir, c.Name) }

func labPath(dir, name string) string {
	if dir == "" {
		dir = "/tmp"
	}
	return filepath.Join(dir, "tn-"+name)
}
