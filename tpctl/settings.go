package tpctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

// Defaults of the settings.
const (
	defaultEndpoint = "127.0.0.1:2379"
	defaultPrefix   = "/tuplenet"
	defaultTimeout  = 10 * time.Second
	defaultWait     = "30s"
)

// settings is what a command needs to know besides its arguments. Each value comes from the command line, else from
// the environment (TPCTL_ before ETCDCTL_), else from the configuration file, else it is the default.
type settings struct {
	Endpoints         []string
	Prefix            string
	CACert, Cert, Key string
	User, Password    string
	Output            format
	Timeout           time.Duration
	Wait              time.Duration // 0 = do not wait
	Yes               bool
}

// fileSettings is the configuration file. Unknown keys are refused: a misspelt one would be ignored silently.
type fileSettings struct {
	Endpoints []string `json:"endpoints,omitempty"`
	Prefix    string   `json:"prefix,omitempty"`
	CACert    string   `json:"cacert,omitempty"`
	Cert      string   `json:"cert,omitempty"`
	Key       string   `json:"key,omitempty"`
	User      string   `json:"user,omitempty"`
	Password  string   `json:"password,omitempty"`
	Output    string   `json:"output,omitempty"`
	Timeout   string   `json:"timeout,omitempty"`
}

// globalFlags declares the options that every command takes.
func globalFlags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringP("endpoints", "e", "", "etcd servers as `host:port,host:port` (default "+defaultEndpoint+")")
	f.StringP("prefix", "p", "", "`prefix` of the deployment's keys in etcd (default "+defaultPrefix+")")
	f.StringP("output", "o", "", "`format` of the answer: "+formatNames+" (default plain)")
	f.BoolP("json", "j", false, "short for -o json")
	f.Duration("wait", 0, "wait until the nodes applied the change, for at most `time`")
	f.Lookup("wait").NoOptDefVal = defaultWait
	f.Duration("timeout", 0, "give up when etcd does not answer within `time` (default "+defaultTimeout.String()+")")
	f.Bool("yes", false, "answer yes to questions")
	f.String("cacert", "", "verify etcd with the CA certificates in `file`")
	f.String("cert", "", "identify to etcd with the certificate in `file`")
	f.String("key", "", "private key `file` of --cert")
	f.String("user", "", "etcd user `name[:password]`; TPCTL_PASSWORD or the configuration file keep the password hidden")
}

// lookup finds one setting by its name on the command line, in the environment, in the file.
type lookup struct {
	flags  *pflag.FlagSet
	getenv func(string) string
}

func (l lookup) text(name, inFile, otherwise string) string {
	if l.flags.Changed(name) {
		return l.flags.Lookup(name).Value.String()
	}
	upper := strings.ToUpper(name)
	for _, variable := range []string{"TPCTL_" + upper, "ETCDCTL_" + upper} {
		if variable == "ETCDCTL_OUTPUT" || variable == "ETCDCTL_TIMEOUT" || variable == "ETCDCTL_PREFIX" {
			continue // these mean something else to etcdctl, or nothing
		}
		if v := l.getenv(variable); v != "" {
			return v
		}
	}
	if inFile != "" {
		return inFile
	}
	return otherwise
}

// resolveSettings reads the settings; all its errors are usage errors.
func resolveSettings(flags *pflag.FlagSet, env Env) (settings, error) {
	file, err := readConfigFile(env)
	if err != nil {
		return settings{}, usageError{err}
	}
	l := lookup{flags: flags, getenv: env.Getenv}
	s := settings{
		Prefix: l.text("prefix", file.Prefix, defaultPrefix),
		CACert: l.text("cacert", file.CACert, ""),
		Cert:   l.text("cert", file.Cert, ""),
		Key:    l.text("key", file.Key, ""),
		User:   l.text("user", file.User, ""),
	}
	if s.Endpoints = splitList(l.text("endpoints", strings.Join(file.Endpoints, ","), defaultEndpoint)); len(s.Endpoints) == 0 {
		return s, usagef("no endpoint given, expected host:port")
	}
	s.User, s.Password = splitUser(s.User)
	if s.Password == "" {
		// not an option: what is on the command line is visible to every user of the machine
		s.Password = firstOf(env.Getenv("TPCTL_PASSWORD"), env.Getenv("ETCDCTL_PASSWORD"), file.Password)
	}
	if s.Output, err = parseFormat(l.text("output", file.Output, "plain")); err != nil {
		return s, usageError{err}
	}
	if on, _ := flags.GetBool("json"); on {
		s.Output = formatJSON
	}
	if s.Timeout, err = time.ParseDuration(l.text("timeout", file.Timeout, defaultTimeout.String())); err != nil || s.Timeout <= 0 {
		return s, usagef("invalid timeout, expected a time such as 5s")
	}
	if s.Wait, _ = flags.GetDuration("wait"); s.Wait < 0 {
		return s, usagef("invalid time in --wait, expected a time such as 30s")
	}
	s.Yes, _ = flags.GetBool("yes")
	return s, nil
}

// readConfigFile reads the first configuration file that exists. One that is named by TPCTL_CONFIG has to exist.
func readConfigFile(env Env) (fileSettings, error) {
	var out fileSettings
	named := env.Getenv("TPCTL_CONFIG")
	candidates := []string{named}
	if named == "" {
		candidates = nil
		if home := env.Getenv("HOME"); home != "" {
			candidates = append(candidates, filepath.Join(home, ".config", "tpctl", "config.yaml"))
		}
		if env.SystemConfig != "" {
			candidates = append(candidates, env.SystemConfig)
		}
	}
	for _, path := range candidates {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) && named == "" {
			continue
		}
		if err != nil {
			return out, fmt.Errorf("read configuration: %w", err)
		}
		if err := yaml.UnmarshalStrict(text, &out); err != nil {
			return out, fmt.Errorf("configuration %s: %w", path, err)
		}
		return out, nil
	}
	return out, nil
}

func splitUser(user string) (name, password string) {
	name, password, _ = strings.Cut(user, ":")
	return name, password
}

func splitList(text string) []string {
	var out []string
	for _, part := range strings.Split(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// noFlags is an empty command line: what resolveSettings finds with it was configured elsewhere.
func noFlags() *pflag.FlagSet {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	globalFlags(f)
	return f
}
