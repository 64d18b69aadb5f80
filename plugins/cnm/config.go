package cnm

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"tuplenet/model"
	"tuplenet/model/store"
)

// Config is the file that tpcnm is given. docs/guide/docker.md says what the keys mean.
type Config struct {
	Etcd   string `json:"etcd_cluster"`
	Prefix string `json:"data_store_prefix"`
	CACert string `json:"etcd_cacert"`
	Cert   string `json:"etcd_cert"`
	Key    string `json:"etcd_key"`
	User   string `json:"etcd_user"` // NAME:PASSWORD

	// Engine is the socket of dockerd, which is asked what it knows when garbage is collected.
	Engine string `json:"docker_unix_sock"`
	// Router gets a port on the switch of every network that has a gateway; empty: none does.
	Router string `json:"egress_router_name"`
	// Scope is what the engine is told: whether a network that was made on one host is there on all hosts of its cluster.
	Scope string `json:"scope"`

	OVSDB  string `json:"ovsdb_socket"`
	Bridge string `json:"bridge"`
}

// Scopes.
const (
	ScopeGlobal = "global"
	ScopeLocal  = "local"
)

// DefaultEngine is the socket of dockerd.
const DefaultEngine = "/var/run/docker.sock"

// Example is a configuration, for people to read.
const Example = `{
  "etcd_cluster": "192.168.5.50:2379,192.168.5.51:2379,192.168.5.53:2379",
  "data_store_prefix": "/tuplenet",
  "docker_unix_sock": "/var/run/docker.sock",
  "egress_router_name": "LR-central"
}
`

// environment are the variables that stand for keys of the configuration: a managed plugin is configured by those
// (`docker plugin set`), as it cannot see files of the host.
func (c *Config) environment() map[string]*string {
	return map[string]*string{
		"TPCNM_ETCD_CLUSTER": &c.Etcd, "TPCNM_DATA_STORE_PREFIX": &c.Prefix, "TPCNM_EGRESS_ROUTER_NAME": &c.Router,
		"TPCNM_ETCD_CACERT": &c.CACert, "TPCNM_ETCD_CERT": &c.Cert, "TPCNM_ETCD_KEY": &c.Key, "TPCNM_ETCD_USER": &c.User,
		"TPCNM_SCOPE": &c.Scope, "TPCNM_DOCKER_UNIX_SOCK": &c.Engine, "TPCNM_OVSDB_SOCKET": &c.OVSDB, "TPCNM_BRIDGE": &c.Bridge,
	}
}

// Load reads the configuration: the file, if there is one, and what is set in the environment, which comes first.
func Load(file string, getenv func(string) string) (Config, error) {
	var c Config
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return c, fmt.Errorf("configuration: %w", err)
		}
		if err := c.read(text); err != nil {
			return c, fmt.Errorf("configuration %s: %w", file, err)
		}
	}
	for name, key := range c.environment() {
		if v := getenv(name); v != "" {
			*key = v
		}
	}
	if file == "" && c.Etcd == "" {
		return c, errors.New("the configuration is missing: -config FILE")
	}
	if err := c.complete(); err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	return c, nil
}

// read takes exactly one JSON object, of known keys: a mistyped one would be left out silently else.
func (c *Config) read(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind the end of the object")
	}
	return nil
}

// complete checks the configuration and fills in what was left out.
func (c *Config) complete() error {
	if len(c.endpoints()) == 0 {
		return errors.New("etcd_cluster is missing: HOST:PORT of etcd, several separated by commas")
	}
	c.Scope, c.Engine = cmp.Or(c.Scope, ScopeGlobal), cmp.Or(c.Engine, DefaultEngine)
	if c.Scope != ScopeGlobal && c.Scope != ScopeLocal {
		return fmt.Errorf("scope %q: it is %s or %s", c.Scope, ScopeGlobal, ScopeLocal)
	}
	if c.Router != "" {
		if err := model.ValidateName(c.Router); err != nil {
			return fmt.Errorf("egress_router_name: %w", err)
		}
	}
	if c.User != "" && !strings.Contains(c.User, ":") {
		return errors.New("etcd_user is not of the form NAME:PASSWORD")
	}
	return nil
}

func (c *Config) endpoints() (out []string) {
	for e := range strings.SplitSeq(c.Etcd, ",") {
		if e = strings.TrimSpace(e); e != "" {
			out = append(out, e)
		}
	}
	return out
}

// patience is how long a request to the store may take: less than a call of the engine, whose answer then says what is wrong.
const patience = 3 * time.Second

// open makes a client of the store.
func (c *Config) open() (*store.Store, error) {
	cfg := store.Config{Endpoints: c.endpoints(), Prefix: c.Prefix, CACert: c.CACert, Cert: c.Cert, Key: c.Key, DialTimeout: patience}
	cfg.User, cfg.Password, _ = strings.Cut(c.User, ":")
	return store.Open(cfg)
}

// parsePrefix reads an address with a prefix length, or nothing.
func parsePrefix(text string) (p netip.Prefix, err error) {
	if text == "" {
		return p, nil
	}
	if p, err = netip.ParsePrefix(text); err != nil {
		return p, fmt.Errorf("%q is no address with a prefix length", text)
	}
	return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()), nil
}
