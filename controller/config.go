package controller

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"tuplenet/datapath/host"
	"tuplenet/flows/compile"
	"tuplenet/model"
	"tuplenet/model/store"
)

// Config is everything that can be set of a node daemon. Flags win over environment variables, those over the
// configuration file, that over the defaults. The reference page in docs/ is generated from the same declarations.
type Config struct {
	// Interfaces are the devices whose addresses are the tunnel endpoints; IPs gives the addresses themselves instead.
	Interfaces []string
	IPs        []string
	// Encaps are the encapsulations that other nodes may send to this one, the best first. VXLANPort is the UDP port of VXLAN, the same
	// on all nodes.
	Encaps    []string
	VXLANPort uint16
	// Endpoints of etcd, Prefix of the deployment's keys.
	Endpoints []string
	Prefix    string
	CACert    string
	Cert      string
	Key       string
	User      string
	// EmbeddedEtcd is the data directory of an etcd server inside the daemon; empty: none.
	EmbeddedEtcd string
	// EmbeddedListen is the client URL of that server.
	EmbeddedListen string
	// AllowStoreReset accepts a store that was restored from an older state or replaced by another.
	AllowStoreReset bool
	// OVSDB is the path of the database socket; OpenFlowDir the folder of the bridges' management sockets, by default that of OVSDB.
	OVSDB       string
	OpenFlowDir string
	// Bridge is the integration bridge; DatapathType its datapath if it has to be made.
	Bridge       string
	DatapathType string
	// Gateway allows pinned routers and patch ports on this node.
	Gateway bool
	// HashFunction spreads packets over equal routes. BFDInterval is how often watched chassis say that they live.
	HashFunction string
	BFDInterval  time.Duration
	// Untunnel sends what would go to an edge through the host's own stack.
	Untunnel bool
	// Redirect lets a gateway send by way of another one to a chassis that it cannot reach.
	Redirect bool
	// OnDemand makes a node that is no gateway have the flows of ports on other chassis only while they are used; those that no packet
	// met for OnDemandIdle go.
	OnDemand     bool
	OnDemandIdle time.Duration
	// Interval is how often liveness is renewed; three times it the node counts as dead.
	Interval time.Duration
	// Audit is how long it takes to read the switch back once, a part at a time; 0 = only when it connects. AuditMode is heal or
	// report. AuditRate bounds the flows that are read in a second; a switch with more of them takes longer.
	Audit     time.Duration
	AuditMode string
	AuditRate int
	// IPFIXCollector is where records of packets are sent, ADDRESS:PORT; empty: none are. IPFIXSampling: of one in so many.
	IPFIXCollector string
	IPFIXSampling  uint32
	// RunDir holds the pid file.
	RunDir string
	// LogDir is where the log file is; empty = standard error. LogFormat is text or json, LogLevel as slog.Level reads it.
	LogDir    string
	LogFormat string
	LogLevel  string
	// MetricsListen is the address of the probes and the metrics page; empty: there is none. APIListen is that of the commands,
	// for clients that show a certificate of the authority in APICA; empty: there is none. APICert and APIKey are the server's own.
	MetricsListen, APIListen string
	APICert, APIKey, APICA   string
	// File is the configuration file.
	File string
	// Version of the program; no flag.
	Version string
}

// option ties a flag to its environment variable.
type option struct{ flag, env string }

// options are the environment variables of the flags. The names of the tutorial are kept.
var options = []option{
	{"interface", "TUPLENET_INTERFACE"}, {"ip", "TUPLENET_IP"}, {"encap", "TUPLENET_ENCAP"}, {"vxlan-port", "TUPLENET_VXLAN_PORT"}, {"host", "TUPLENET_HOST"}, {"prefix", "TUPLENET_PREFIX"},
	{"cacert", "TUPLENET_CACERT"}, {"cert", "TUPLENET_CERT"}, {"key", "TUPLENET_KEY"}, {"user", "TUPLENET_USER"},
	{"embedded-etcd", "TUPLENET_EMBEDDED_ETCD"}, {"embedded-listen", "TUPLENET_EMBEDDED_LISTEN"},
	{"allow-store-reset", "TUPLENET_ALLOW_STORE_RESET"},
	{"ovsdb", "TUPLENET_OVSDB_PATH"}, {"openflow-dir", "TUPLENET_OPENFLOW_DIR"},
	{"bridge", "TUPLENET_BRIDGE"}, {"datapath-type", "TUPLENET_DATAPATH_TYPE"},
	{"gateway", "GATEWAY"}, {"hash-fn", "HASH_FN"}, {"redirect", "ENABLE_REDIRECT"}, {"untunnel", "ENABLE_UNTUNNEL"}, {"ondemand", "ONDEMAND"}, {"ondemand-idle", "TUPLENET_ONDEMAND_IDLE"}, {"bfd-interval", "TUPLENET_BFD_INTERVAL"}, {"interval", "TUPLENET_INTERVAL"}, {"audit", "TUPLENET_AUDIT"}, {"audit-mode", "TUPLENET_AUDIT_MODE"}, {"audit-rate", "TUPLENET_AUDIT_RATE"}, {"run-dir", "TUPLENET_RUNDIR"},
	{"ipfix-collector", "IPFIX_COLLECTOR"}, {"ipfix-sampling", "IPFIX_SAMPLING_RATE"}, {"metrics-listen", "TUPLENET_METRICS_LISTEN"}, {"api-listen", "TUPLENET_API_LISTEN"}, {"api-cert", "TUPLENET_API_CERT"}, {"api-key", "TUPLENET_API_KEY"}, {"api-ca", "TUPLENET_API_CA"},
	{"log-dir", "TUPLENET_LOG_DIR"}, {"log-format", "TUPLENET_LOG_FORMAT"}, {"log-level", "TUPLENET_LOG_LEVEL"}, {"config", "TUPLENET_CONFIG"},
}

// exclusive are flags of which one at most may be given. A value that comes from higher up silences the other flag's value
// from further down: `--ip` on the command line wins over `interface` in the file.
var exclusive = []string{"interface", "ip"}

// Flags declares the daemon's flags on fs; parsing fs fills c.
func (c *Config) Flags(fs *pflag.FlagSet) {
	fs.StringSliceVar(&c.Interfaces, "interface", nil, "device, or devices in order of preference, whose address is the tunnel endpoint")
	fs.StringSliceVar(&c.IPs, "ip", nil, "tunnel endpoint ADDR[,ADDR6], instead of --interface")
	fs.StringSliceVar(&c.Encaps, "encap", []string{string(model.EncapGeneve)}, "encapsulations that others may send to this node, the best first: geneve, vxlan")
	fs.Uint16Var(&c.VXLANPort, "vxlan-port", vxlanUDPPort, "UDP port of VXLAN, the same on all nodes")
	fs.StringSliceVar(&c.Endpoints, "host", []string{"127.0.0.1:2379"}, "etcd endpoints, HOST:PORT[,HOST:PORT…]")
	fs.StringVar(&c.Prefix, "prefix", "/tuplenet", "prefix of the deployment's keys in etcd")
	fs.StringVar(&c.CACert, "cacert", "", "file of the CA that etcd's certificate is checked with")
	fs.StringVar(&c.Cert, "cert", "", "file of the certificate shown to etcd")
	fs.StringVar(&c.Key, "key", "", "file of the certificate's key")
	fs.StringVar(&c.User, "user", "", "etcd user as NAME:PASSWORD")
	fs.StringVar(&c.EmbeddedEtcd, "embedded-etcd", "", "run an etcd server inside the daemon, with its data in this folder")
	fs.StringVar(&c.EmbeddedListen, "embedded-listen", "http://127.0.0.1:2379", "client URL of the embedded etcd server")
	fs.BoolVar(&c.AllowStoreReset, "allow-store-reset", false, "accept a store that was restored to an older state or replaced")
	fs.StringVar(&c.OVSDB, "ovsdb", "/var/run/openvswitch/db.sock", "socket of the Open vSwitch database")
	fs.StringVar(&c.OpenFlowDir, "openflow-dir", "", "folder of the bridges' management sockets (default: that of --ovsdb)")
	fs.StringVar(&c.Bridge, "bridge", "br-int", "integration bridge")
	fs.StringVar(&c.DatapathType, "datapath-type", "", "datapath of the integration bridge if it has to be made: system or netdev (default: what fits)")
	fs.BoolVar(&c.Gateway, "gateway", false, "the node may hold pinned routers and patch ports")
	fs.StringVar(&c.HashFunction, "hash-fn", compile.DefaultHash, "what spreads packets over equal routes: "+strings.Join(compile.HashNames(), ", "))
	fs.BoolVar(&c.Redirect, "redirect", true, "a gateway that cannot reach a chassis sends by way of another gateway")
	fs.BoolVar(&c.Untunnel, "untunnel", false, "traffic for the physical network leaves through the host's own stack, replies return through the edge")
	fs.BoolVar(&c.OnDemand, "ondemand", true, "flows for ports on other chassis are made when a port here first needs them; gateways have them all")
	fs.DurationVar(&c.OnDemandIdle, "ondemand-idle", 5*time.Minute, "with --ondemand: after how long without packets such flows go")
	fs.DurationVar(&c.BFDInterval, "bfd-interval", 100*time.Millisecond, "how often watched chassis say that they live (BFD); three lost ones and they count as down")
	fs.DurationVarP(&c.Interval, "interval", "i", 5*time.Second, "how often liveness is renewed; after three times this the node counts as dead")
	fs.DurationVar(&c.Audit, "audit", time.Minute, "in what time everything in the switch is read back once, a part at a time, compared and repaired; 0 = only when it connects")
	fs.StringVar(&c.AuditMode, "audit-mode", auditHeal, "what becomes of that which others changed: heal or report")
	fs.IntVar(&c.AuditRate, "audit-rate", 10000, "flows that the audit reads in a second at most; with more than fit into its time it takes longer")
	fs.StringVar(&c.RunDir, "run-dir", "/run/tuplenet", "folder of the pid file")
	fs.StringVar(&c.IPFIXCollector, "ipfix-collector", "", "ADDRESS:PORT of an IPFIX collector that is told of packets on the integration bridge (default: none)")
	fs.Uint32Var(&c.IPFIXSampling, "ipfix-sampling", 64, "one of so many packets is told of by IPFIX; 1 = all")
	fs.StringVar(&c.MetricsListen, "metrics-listen", "127.0.0.1:9476", "address of /metrics, /healthz and /readyz, for everybody who reaches it; empty = none")
	fs.StringVar(&c.APIListen, "api-listen", "", "address where the daemon can be asked as on its socket, by TLS with client certificates (default: none)")
	fs.StringVar(&c.APICert, "api-cert", "", "file of the certificate that --api-listen shows")
	fs.StringVar(&c.APIKey, "api-key", "", "file of the key of --api-cert")
	fs.StringVar(&c.APICA, "api-ca", "", "file of the CA whose clients --api-listen serves")
	fs.StringVarP(&c.LogDir, "log-dir", "l", "", "write the log to tuplenet.log in this folder, rotated, instead of standard error")
	fs.StringVar(&c.LogFormat, "log-format", "text", "text or json")
	fs.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
	fs.StringVar(&c.File, "config", "", "configuration file (YAML, the flags' names as keys; default /etc/tuplenet/controller.yaml if it exists)")
}

// defaultFile is read when it exists and no other file is named.
const defaultFile = "/etc/tuplenet/controller.yaml"

// Complete fills what no flag of the parsed fs set from the environment and the configuration file, and checks the whole.
// Errors are one line each.
func (c *Config) Complete(fs *pflag.FlagSet, getenv func(string) string) error {
	env := map[string]string{}
	for _, o := range options {
		if v := getenv(o.env); v != "" {
			env[o.flag] = v
		}
	}
	if v, ok := env["config"]; ok && !fs.Changed("config") {
		c.File = v
	}
	file, err := c.readFile(fs)
	if err != nil {
		return err
	}
	silence(fs, env, file)
	var problems []error
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "config" {
			return
		}
		v, from := env[f.Name], "the environment"
		if v == "" {
			v, from = file[f.Name], c.File
		}
		if v == "" {
			return
		}
		if err := f.Value.Set(v); err != nil {
			problems = append(problems, fmt.Errorf("%s in %s: %w", f.Name, from, err))
		}
	})
	if len(problems) > 0 {
		return problems[0]
	}
	return c.check()
}

// silence drops from env and file what a flag of higher rank excludes.
func silence(fs *pflag.FlagSet, env, file map[string]string) {
	given := func(name string) bool { return fs.Changed(name) }
	inEnv := func(name string) bool { return env[name] != "" }
	byFlag, byEnv := slices.ContainsFunc(exclusive, given), slices.ContainsFunc(exclusive, inEnv)
	for _, name := range exclusive {
		if byFlag {
			delete(env, name)
		}
		if byFlag || byEnv {
			delete(file, name)
		}
	}
}

// readFile reads the configuration file: the text of each value, as on the command line.
func (c *Config) readFile(fs *pflag.FlagSet) (map[string]string, error) {
	name := c.File
	if name == "" {
		name = defaultFile
	}
	data, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) && c.File == "" {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	c.File = name
	var values map[string]any
	if err := yaml.UnmarshalStrict(data, &values); err != nil {
		return nil, fmt.Errorf("configuration file %s: %s", name, strings.Join(strings.Fields(err.Error()), " "))
	}
	out := map[string]string{}
	for k, v := range values {
		if fs.Lookup(k) == nil || k == "config" || k == "version" || k == "help" {
			return nil, fmt.Errorf("configuration file %s: unknown key %q", name, k)
		}
		text, err := plain(v)
		if err != nil {
			return nil, fmt.Errorf("configuration file %s: %s: %w", name, k, err)
		}
		out[k] = text
	}
	return out, nil
}

// plain is a value of the file as it would stand on the command line.
func plain(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string, bool, float64:
		return fmt.Sprint(v), nil
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			text, ok := e.(string)
			if !ok || strings.Contains(text, ",") {
				return "", fmt.Errorf("entry %d of the list is not a text without commas", i+1)
			}
			parts[i] = text
		}
		return strings.Join(parts, ","), nil
	}
	return "", errors.New("neither a single value nor a list of them")
}

// check says what is wrong, or makes the configuration complete.
func (c *Config) check() error {
	if err := c.checkTunnels(); err != nil {
		return err
	}
	if !compile.ValidHash(c.HashFunction) {
		return fmt.Errorf("hash function %q is none of %s", c.HashFunction, strings.Join(compile.HashNames(), ", "))
	}
	if c.BFDInterval < 10*time.Millisecond || c.BFDInterval > 10*time.Second {
		return fmt.Errorf("BFD interval %s is not between 10ms and 10s", c.BFDInterval)
	}
	if len(c.Endpoints) == 0 && c.EmbeddedEtcd == "" {
		return errors.New("no etcd endpoint: give --host HOST:PORT")
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		return fmt.Errorf("log format %q is neither text nor json", c.LogFormat)
	}
	if _, err := c.Level(); err != nil {
		return err
	}
	if c.DatapathType != "" && c.DatapathType != "system" && c.DatapathType != "netdev" {
		return fmt.Errorf("datapath type %q is neither system nor netdev", c.DatapathType)
	}
	if c.Bridge == "" {
		return errors.New("the integration bridge has no name")
	}
	if c.Interval < time.Second {
		return fmt.Errorf("interval %s is shorter than 1s", c.Interval)
	}
	if c.Audit != 0 && c.Audit < time.Second {
		return fmt.Errorf("audit %s is shorter than 1s; 0 switches it off", c.Audit)
	}
	if c.AuditMode != auditHeal && c.AuditMode != auditReport {
		return fmt.Errorf("audit mode %q is neither heal nor report", c.AuditMode)
	}
	if c.OnDemandIdle < 2*time.Second {
		return fmt.Errorf("ondemand-idle %s is shorter than 2s", c.OnDemandIdle)
	}
	if c.AuditRate < 100 {
		return fmt.Errorf("audit rate %d is less than 100 flows a second", c.AuditRate)
	}
	if err := c.checkListening(); err != nil {
		return err
	}
	if err := c.checkIPFIX(); err != nil {
		return err
	}
	c.OVSDB = strings.TrimPrefix(c.OVSDB, "unix:")
	if c.OpenFlowDir == "" {
		c.OpenFlowDir = filepath.Dir(c.OVSDB)
	}
	return nil
}

// checkTunnels says what is wrong with the tunnel endpoint and the encapsulations.
func (c *Config) checkTunnels() error {
	if len(c.Interfaces) == 0 && len(c.IPs) == 0 {
		return errors.New("no tunnel endpoint: give --interface DEVICE or --ip ADDRESS")
	}
	if len(c.Interfaces) > 0 && len(c.IPs) > 0 {
		return errors.New("--interface and --ip exclude each other")
	}
	if _, err := c.addresses(); err != nil {
		return err
	}
	if c.VXLANPort == 0 {
		return fmt.Errorf("VXLAN port 0: give a UDP port, such as %d", vxlanUDPPort)
	}
	return model.ValidateEncaps(c.encaps())
}

// checkIPFIX says what is wrong with the collector.
func (c *Config) checkIPFIX() error {
	if c.IPFIXSampling == 0 {
		return errors.New("IPFIX sampling 0: give 1 for all packets, N for one of N")
	}
	if c.IPFIXCollector == "" {
		return nil
	}
	a, err := netip.ParseAddrPort(c.IPFIXCollector)
	if err != nil || a.Port() == 0 || a.Addr().IsUnspecified() || a.Addr().Zone() != "" {
		return fmt.Errorf("IPFIX collector %q is not ADDRESS:PORT, such as 192.0.2.1:4739 or [2001:db8::1]:4739", c.IPFIXCollector)
	}
	return nil
}

// checkListening says what is wrong with the addresses to listen at.
func (c *Config) checkListening() error {
	for name, addr := range map[string]string{"metrics-listen": c.MetricsListen, "api-listen": c.APIListen} {
		if addr == "" {
			continue
		}
		if _, port, err := net.SplitHostPort(addr); err != nil || port == "" {
			return fmt.Errorf("%s %q is not of the form ADDRESS:PORT", name, addr)
		}
	}
	if c.APIListen != "" && (c.APICert == "" || c.APIKey == "" || c.APICA == "") {
		return errors.New("api-listen needs api-cert, api-key and api-ca: nobody is served without a certificate")
	}
	return nil
}

// Level is LogLevel as slog knows it.
func (c *Config) Level() (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return 0, fmt.Errorf("log level %q is none of debug, info, warn, error", c.LogLevel)
	}
	return level, nil
}

// addresses are the tunnel endpoints given by --ip, the one of IPv4 first.
func (c *Config) addresses() ([]netip.Addr, error) {
	var addrs []netip.Addr
	for _, s := range c.IPs {
		a, err := netip.ParseAddr(strings.TrimSpace(s))
		if err != nil {
			return nil, fmt.Errorf("tunnel endpoint %q is not an IP address", s)
		}
		a = a.Unmap()
		if err := host.CheckEndpoint(a); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(addrs, func(b netip.Addr) bool { return b.Is4() == a.Is4() }) {
			return nil, fmt.Errorf("tunnel endpoint %s: one IPv4 and one IPv6 address at most", a)
		}
		addrs = append(addrs, a)
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs, nil
}

// deadAfter is after how many intervals without a sign of life a node counts as dead.
const deadAfter = 3

// Store is the part of the configuration that tells how to reach the store.
func (c *Config) Store(log *slog.Logger) store.Config {
	user, password, _ := strings.Cut(c.User, ":")
	return store.Config{Endpoints: c.Endpoints, Prefix: c.Prefix, CACert: c.CACert, Cert: c.Cert, Key: c.Key,
		User: user, Password: password, AllowStoreReset: c.AllowStoreReset, LeaseTTL: deadAfter * c.Interval, Logger: log}
}

// Reference describes every flag with its environment variable and default, as a Markdown table.
func Reference() string {
	var c Config
	fs := pflag.NewFlagSet("tuplenet", pflag.ContinueOnError)
	c.Flags(fs)
	env := map[string]string{}
	for _, o := range options {
		env[o.flag] = "`" + o.env + "`"
	}
	var b strings.Builder
	b.WriteString("| flag, key in the file | environment | default | meaning |\n|---|---|---|---|\n")
	fs.VisitAll(func(f *pflag.Flag) {
		def := f.DefValue
		if def != "" && def != "[]" {
			def = "`" + def + "`"
		} else {
			def = ""
		}
		fmt.Fprintf(&b, "| `--%s` | %s | %s | %s |\n", f.Name, env[f.Name], def, f.Usage)
	})
	return b.String()
}
