package controller

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// complete reads a command line, an environment and a file with this content; the first of equal variables counts.
func complete(t *testing.T, args, env []string, file string) (Config, error) {
	t.Helper()
	var c Config
	fs := pflag.NewFlagSet("tuplenet", pflag.ContinueOnError)
	c.Flags(fs)
	if file != "" {
		name := filepath.Join(t.TempDir(), "controller.yaml")
		if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		env = append(env, "TUPLENET_CONFIG="+name)
	} else {
		env = append(env, "TUPLENET_CONFIG=/dev/null")
	}
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return c, c.Complete(fs, func(name string) string {
		for _, e := range env {
			if v, ok := strings.CutPrefix(e, name+"="); ok {
				return v
			}
		}
		return ""
	})
}

func TestT66_FlagsWinOverEnvironmentOverFileOverDefaults(t *testing.T) {
	file := "interface: [eth7, eth8]\nprefix: /file\nhost: file:1\ninterval: 9s\ngateway: true\nlog-format: json\naudit: 0s\n"
	c, err := complete(t, []string{"--prefix", "/flag"}, []string{"TUPLENET_PREFIX=/env", "TUPLENET_HOST=env:1,env:2", "TUPLENET_OVSDB_PATH=/x/db.sock", "TUPLENET_RUNDIR=/x/run"}, file)
	if err != nil {
		t.Fatal(err)
	}
	for what, pair := range map[string][2]string{
		"flag":    {c.Prefix, "/flag"},
		"env":     {strings.Join(c.Endpoints, " "), "env:1 env:2"},
		"path":    {c.OVSDB, "/x/db.sock"},
		"derived": {c.OpenFlowDir, "/x"},
		"run dir": {c.RunDir, "/x/run"},
		"file":    {strings.Join(c.Interfaces, " "), "eth7 eth8"},
		"format":  {c.LogFormat, "json"},
		"default": {c.Bridge, "br-int"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %q, want %q", what, pair[0], pair[1])
		}
	}
	if c.Interval != 9*time.Second || !c.Gateway || c.Audit != 0 {
		t.Errorf("interval %v, gateway %v, audit %v", c.Interval, c.Gateway, c.Audit)
	}
	if got := c.Store(nil).LeaseTTL; got != 27*time.Second {
		t.Errorf("a node counts as dead after %v", got)
	}
}

func TestT18_AnEndpointGivenHigherUpSilencesTheOtherKind(t *testing.T) {
	for _, c := range []struct {
		args, env       []string
		file            string
		interfaces, ips []string
	}{
		{[]string{"--ip", "192.0.2.1"}, []string{"TUPLENET_INTERFACE=eth0"}, "interface: eth1\n", nil, []string{"192.0.2.1"}},
		{nil, []string{"TUPLENET_INTERFACE=eth0,br0"}, "ip: 192.0.2.1\n", []string{"eth0", "br0"}, nil},
		{nil, nil, "ip: [192.0.2.1, 2001:db8::1]\n", nil, []string{"192.0.2.1", "2001:db8::1"}},
	} {
		got, err := complete(t, c.args, c.env, c.file)
		if err != nil || !slices.Equal(got.Interfaces, c.interfaces) || !slices.Equal(got.IPs, c.ips) {
			t.Errorf("%v %v %q: interfaces %v, ips %v, error %v", c.args, c.env, c.file, got.Interfaces, got.IPs, err)
		}
	}
}

func TestGATEWAYTakesOneAndZero(t *testing.T) {
	for value, want := range map[string]bool{"1": true, "0": false, "true": true, "FALSE": false} {
		c, err := complete(t, []string{"--interface", "eth0"}, []string{"GATEWAY=" + value}, "")
		if err != nil || c.Gateway != want {
			t.Errorf("GATEWAY=%s: %v, %v", value, c.Gateway, err)
		}
	}
}

func TestT18_T56_X18_WhatIsWrongWithTheConfigurationIsSaidInOneLine(t *testing.T) {
	ok := []string{"--interface", "eth0"}
	for _, c := range []struct {
		args, env []string
		file      string
		want      []string
	}{
		{nil, nil, "", []string{"--interface", "--ip"}},
		{append([]string{"--ip", "192.0.2.1"}, ok...), nil, "", []string{"exclude"}},
		{[]string{"--ip", "192.0.2.300"}, nil, "", []string{"192.0.2.300", "not an IP address"}},
		{[]string{"--ip", "fe80::1"}, nil, "", []string{"fe80::1", "link-local", "global"}},
		{[]string{"--ip", "fe80::1%eth0"}, nil, "", []string{"link-local"}},
		{[]string{"--ip", "127.0.0.1"}, nil, "", []string{"loopback"}},
		{[]string{"--ip", "192.0.2.1,192.0.2.2"}, nil, "", []string{"192.0.2.2", "one IPv4"}},
		{append([]string{"--encap", "gre"}, ok...), nil, "", []string{"gre", "geneve", "vxlan"}},
		{ok, []string{"TUPLENET_ENCAP=vxlan,vxlan"}, "", []string{"vxlan", "twice"}},
		{append([]string{"--vxlan-port", "0"}, ok...), nil, "", []string{"VXLAN port 0", "4789"}},
		{ok, nil, "vxlan-port: many\n", []string{"vxlan-port", "controller.yaml"}},
		{ok, []string{"GATEWAY=perhaps"}, "", []string{"gateway", "environment", "perhaps"}},
		{ok, []string{"TUPLENET_INTERVAL=soon"}, "", []string{"interval", "soon"}},
		{append([]string{"--interval", "10ms"}, ok...), nil, "", []string{"interval", "1s"}},
		{append([]string{"--audit", "10ms"}, ok...), nil, "", []string{"audit", "1s"}},
		{append([]string{"--audit-mode", "watch"}, ok...), nil, "", []string{"watch", "heal", "report"}},
		{append([]string{"--audit-rate", "1"}, ok...), nil, "", []string{"audit rate", "100"}},
		{append([]string{"--metrics-listen", "9476"}, ok...), nil, "", []string{"metrics-listen", "ADDRESS:PORT"}},
		{append([]string{"--api-listen", "[::]:9477"}, ok...), nil, "", []string{"api-listen", "api-ca", "certificate"}},
		{ok, []string{"IPFIX_COLLECTOR=collector:4739"}, "", []string{"IPFIX collector", "collector:4739", "192.0.2.1:4739"}},
		{ok, []string{"IPFIX_COLLECTOR=192.0.2.1"}, "", []string{"IPFIX collector", "192.0.2.1"}},
		{ok, []string{"IPFIX_SAMPLING_RATE=0"}, "", []string{"IPFIX sampling 0"}},
		{ok, []string{"IPFIX_SAMPLING_RATE=often"}, "", []string{"ipfix-sampling", "often"}},
		{append([]string{"--log-format", "xml"}, ok...), nil, "", []string{"xml", "json"}},
		{append([]string{"--log-level", "loud"}, ok...), nil, "", []string{"loud", "debug"}},
		{append([]string{"--datapath-type", "dpdk"}, ok...), nil, "", []string{"dpdk", "netdev"}},
		{append([]string{"--host", ""}, ok...), nil, "", []string{"etcd endpoint"}},
		{ok, nil, "colour: green\n", []string{"controller.yaml", `unknown key "colour"`}},
		{ok, nil, "version: true\n", []string{"unknown key"}},
		{ok, nil, "prefix: [\n", []string{"controller.yaml", "yaml"}},
		{ok, nil, "prefix: {a: b}\n", []string{"prefix", "neither"}},
		{ok, nil, "host: [a, 5]\n", []string{"host", "entry 2"}},
		{ok, nil, "gateway: perhaps\n", []string{"gateway", "controller.yaml"}},
		{ok, nil, "prefix: /a\nprefix: /b\n", []string{"prefix"}},
	} {
		_, err := complete(t, c.args, c.env, c.file)
		if err == nil {
			t.Errorf("%v %v %q: no error", c.args, c.env, c.file)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%v %v %q: %q is not in: %v", c.args, c.env, c.file, w, err)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%v %v %q: more than one line: %q", c.args, c.env, c.file, err)
		}
	}
}

func TestAnUnsetKeyOfTheFileMeansTheDefault(t *testing.T) {
	c, err := complete(t, []string{"--interface", "eth0"}, nil, "prefix:\nbridge: \"\"\n")
	if err != nil || c.Prefix != "/tuplenet" || c.Bridge != "br-int" {
		t.Errorf("prefix %q, bridge %q, %v", c.Prefix, c.Bridge, err)
	}
}

func TestANamedFileMustExist(t *testing.T) {
	_, err := complete(t, []string{"--interface", "eth0"}, []string{"TUPLENET_CONFIG=/nonexistent/x.yaml"}, "")
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/x.yaml") {
		t.Errorf("error %v", err)
	}
}

func TestEveryFlagHasAnEnvironmentVariable(t *testing.T) {
	var c Config
	fs := pflag.NewFlagSet("tuplenet", pflag.ContinueOnError)
	c.Flags(fs)
	known := map[string]bool{}
	for _, o := range options {
		if fs.Lookup(o.flag) == nil {
			t.Errorf("%s is of no flag", o.env)
		}
		known[o.flag] = true
	}
	fs.VisitAll(func(f *pflag.Flag) {
		if !known[f.Name] {
			t.Errorf("--%s has no environment variable", f.Name)
		}
	})
}
