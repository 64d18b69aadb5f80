package cni

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"tuplenet/model"
	"tuplenet/model/store"
)

// Config is the network configuration of a runtime: the file in /etc/cni/net.d, or an entry in its list of plugins, with what
// the runtime adds. docs/guide/kubernetes.md says what the keys mean.
type Config struct {
	types.PluginConf

	MTU     int    `json:"mtu"`
	Switch  string `json:"switchname"`
	Subnet  string `json:"subnet"`
	Subnet6 string `json:"subnet6"`

	Etcd   string `json:"etcd_cluster"`
	Prefix string `json:"data_store_prefix"`
	CACert string `json:"etcd_cacert"`
	Cert   string `json:"etcd_cert"`
	Key    string `json:"etcd_key"`
	User   string `json:"etcd_user"` // NAME:PASSWORD

	OVSDB   string `json:"ovsdb_socket"`
	Bridge  string `json:"bridge"`
	Timeout int    `json:"timeout"` // seconds
	LogFile string `json:"log_file"`

	// Attachments are those that the runtime still knows, for GC; nil if it does not say. The second name is that of a draft.
	Attachments      *[]types.GCAttachment `json:"cni.dev/valid-attachments"`
	AttachmentsDraft *[]types.GCAttachment `json:"cni.dev/attachments"`

	// RuntimeConfig is what runtimes give to plugins that declare the capabilities "mac" and "ips".
	RuntimeConfig requested `json:"runtimeConfig"`
	// Args is an older way to say the same.
	Args struct {
		CNI requested `json:"cni"`
	} `json:"args"`
}

// requested are addresses that the runtime wants the interface to have.
type requested struct {
	MAC string   `json:"mac"`
	IPs []string `json:"ips"`
}

// environment is what is asked for in CNI_ARGS, the oldest way; other keys in it are not ours.
type environment struct {
	types.CommonArgs
	IP  types.UnmarshallableString
	MAC types.UnmarshallableString
}

// defaultTimeout is how long ADD may wait for what is missing on the host; kubelet gives a plugin two minutes and more.
const defaultTimeout = 30 * time.Second

// storeTimeout is how long one request to the store may wait for an answer; less if the whole command has little time.
const storeTimeout = 5 * time.Second

// network is a configuration that was checked.
type network struct {
	Config
	pools   []store.Pool
	subnets []netip.Prefix // of the pools, IPv4 first
	gateway []netip.Addr   // one a subnet
	mac     model.MAC
	ips     []netip.Addr
}

// parse reads and checks a configuration. Errors are of the specification's codes.
func parse(args *skel.CmdArgs) (*network, error) {
	n := &network{}
	if err := json.Unmarshal(args.StdinData, &n.Config); err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "the network configuration is not readable", err.Error())
	}
	if err := version.ParsePrevResult(&n.PluginConf); err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "the previous result is not readable", err.Error())
	}
	if err := n.check(); err != nil {
		return nil, types.NewError(types.ErrInvalidNetworkConfig, "invalid network configuration "+n.Name, err.Error())
	}
	if err := n.wishes(args.Args); err != nil {
		return nil, types.NewError(types.ErrInvalidNetworkConfig, "addresses asked for cannot be given", err.Error())
	}
	return n, nil
}

func (n *network) check() error {
	if n.Switch == "" {
		return fmt.Errorf("switchname is missing: the logical switch of the containers")
	}
	if err := model.ValidateName(n.Switch); err != nil {
		return fmt.Errorf("switchname: %w", err)
	}
	if n.Etcd == "" {
		return fmt.Errorf("etcd_cluster is missing: HOST:PORT of etcd, several separated by commas")
	}
	if n.MTU != 0 && (n.MTU < model.MinMTU || n.MTU > model.MaxMTU) {
		return fmt.Errorf("mtu %d: the limits are %d and %d", n.MTU, model.MinMTU, model.MaxMTU)
	}
	if n.Timeout < 0 {
		return fmt.Errorf("timeout %d: it is a number of seconds", n.Timeout)
	}
	for _, s := range []struct {
		key, text string
		v6        bool
	}{{"subnet", n.Subnet, strings.Contains(n.Subnet, ":")}, {"subnet6", n.Subnet6, true}} {
		if s.text == "" {
			continue
		}
		if err := n.addSubnet(s.key, s.text, s.v6); err != nil {
			return err
		}
	}
	return nil
}

// addSubnet reads a subnet. The address in it is the gateway; without one (10.20.1.0/24) it is the first behind the network's.
func (n *network) addSubnet(key, text string, v6 bool) error {
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return fmt.Errorf("%s %q is not of the form 10.20.1.1/24 or 2001:db8::1/64", key, text)
	}
	if p.Addr().Is6() != v6 || slices.ContainsFunc(n.subnets, func(q netip.Prefix) bool { return q.Addr().Is6() == p.Addr().Is6() }) {
		return fmt.Errorf("%s %q: there is one subnet of each family, subnet6 is that of IPv6", key, text)
	}
	gateway := p.Addr()
	if gateway == p.Masked().Addr() && p.Addr().BitLen()-p.Bits() > 1 {
		gateway = gateway.Next()
	}
	if _, err := model.ParseInterfaceCIDR(netip.PrefixFrom(gateway, p.Bits()).String()); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if p.Addr().BitLen()-p.Bits() < 1 {
		return fmt.Errorf("%s %q has no address but the gateway's", key, text)
	}
	n.subnets, n.gateway = append(n.subnets, p.Masked()), append(n.gateway, gateway)
	n.pools = append(n.pools, store.Pool{Subnet: p.Masked(), Reserved: []netip.Addr{gateway}})
	return nil
}

// wishes reads the MAC and the addresses that are asked for: by capability, in args, or in the environment; the first that
// says something counts.
func (n *network) wishes(args string) error {
	env := environment{CommonArgs: types.CommonArgs{IgnoreUnknown: true}}
	if err := types.LoadArgs(args, &env); err != nil {
		return fmt.Errorf("CNI_ARGS: %w", err)
	}
	var inEnv requested
	if inEnv.MAC = string(env.MAC); env.IP != "" {
		inEnv.IPs = strings.Split(string(env.IP), ",")
	}
	for _, r := range []requested{n.RuntimeConfig, n.Args.CNI, inEnv} {
		if n.mac.IsZero() && r.MAC != "" {
			mac, err := model.ParseMAC(r.MAC)
			if err != nil {
				return err
			}
			n.mac = mac
		}
		if len(n.ips) > 0 {
			continue
		}
		for _, text := range r.IPs {
			if err := n.wishAddress(text); err != nil {
				return err
			}
		}
	}
	return nil
}

// wishAddress takes an address, with or without a prefix length. It has to be in a subnet of ours, if we know any.
func (n *network) wishAddress(text string) error {
	bare, _, _ := strings.Cut(text, "/")
	a, err := model.ParseIP(bare)
	if err != nil {
		return err
	}
	if slices.Contains(n.gateway, a) {
		return fmt.Errorf("%s is the address of the gateway", a)
	}
	if len(n.subnets) > 0 && !slices.ContainsFunc(n.subnets, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return fmt.Errorf("%s is not in the subnet of the network", a)
	}
	n.ips = append(n.ips, a)
	return nil
}

func (n *network) timeout() time.Duration {
	if n.Timeout == 0 {
		return defaultTimeout
	}
	return time.Duration(n.Timeout) * time.Second
}

// open makes a client of the store.
func (n *network) open() (*store.Store, error) {
	cfg := store.Config{Prefix: n.Prefix, CACert: n.CACert, Cert: n.Cert, Key: n.Key, DialTimeout: min(storeTimeout, n.timeout()*2/3)}
	for e := range strings.SplitSeq(n.Etcd, ",") {
		if e = strings.TrimSpace(e); e != "" {
			cfg.Endpoints = append(cfg.Endpoints, e)
		}
	}
	if n.User != "" {
		var ok bool
		if cfg.User, cfg.Password, ok = strings.Cut(n.User, ":"); !ok {
			return nil, types.NewError(types.ErrInvalidNetworkConfig, "invalid network configuration "+n.Name, "etcd_user is not of the form NAME:PASSWORD")
		}
	}
	st, err := store.Open(cfg)
	if err != nil {
		return nil, types.NewError(types.ErrInvalidNetworkConfig, "invalid network configuration "+n.Name, err.Error())
	}
	return st, nil
}
