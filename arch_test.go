// Package tuplenet_test holds the rules that the whole module keeps: who may import whom, that every package says what
// it is, that generated pages and go.mod are current.
package tuplenet_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "tuplenet"

// levels holds every package. An import must point to a lower level, or from a package to one in a folder below it.
var levels = map[string]int{
	"model":                 1,
	"flows/of":              1,
	"flows/of/oftest":       2,
	"e2e/lab":               1, // imports nothing of the module, by forbidden below
	"flows/pipeline":        2,
	"flows/memo":            2,
	"model/alloc":           2,
	"model/edge":            2,
	"model/store":           3, // applies the rules of model/alloc inside its transactions
	"datapath/ofconn":       2,
	"datapath/ovsdb":        2,
	"datapath/unixctl":      2,
	"flows/compile":         3,
	"flows/decode":          3,
	"flows/sim":             3,
	"flows/tap":             3,
	"flows/walk":            4, // joins compile, decode and sim
	"datapath/apply":        3,
	"datapath/ovstest":      3,
	"datapath/host":         3,
	"datapath/multicast":    4, // built on host
	"controller":            5,
	"controller/facts":      5,
	"controller/status":     5,
	"controller/responder":  5,
	"controller/neighbours": 5,
	"controller/admin":      5,
	"controller/metrics":    5,
	"plugins/plug":          4,
	"plugins/hooks":         4, // runs programs, for tpctl watch
	"plugins/ipam":          4, // asks drivers of pools, for tpctl
	"plugins/ipam/netbox":   5, // a driver, by the protocol of ipam
	"plugins/cni":           5, // built on plug
	"plugins/cnm":           5, // built on plug
	"tpctl":                 5,
	"cmd/tpcni":             6,
	"cmd/tpcnm":             6,
	"cmd/tpctl":             6,
	"cmd/tpipam-netbox":     6,
	"cmd/tuplenet":          6,
	"e2e":                   6,
	"e2e/demo":              6,
	"bench":                 6,
	"bench/report":          1,
	"docs/gen":              6,
}

// rule forbids imports. A pattern is an import path, or with /... everything below it too.
type rule struct {
	packages  string
	forbidden []string
	except    []string // packages that the rule does not bind
	why       string
}

var rules = []rule{
	{
		packages:  "flows/...",
		forbidden: []string{"time", "os/...", "net/http", "log/...", "sync/...", "context", module + "/datapath/..."},
		why:       "what flows are is a pure function of facts: no clock, no input or output, no locks",
	},
	{
		packages:  "model",
		forbidden: []string{"time", "os/...", "net/http", "log/...", "sync/...", "context", module + "/datapath/...", module + "/flows/..."},
		why:       "objects are values: no clock, no input or output; tpctl and the daemon share them",
	},
	{
		packages:  "datapath/...",
		forbidden: []string{module + "/model/..."},
		why:       "the datapath moves flows and ports, it does not know what they mean",
	},
	{
		packages:  "...",
		except:    []string{"model/store"},
		forbidden: []string{"go.etcd.io/..."},
		why:       "only model/store knows etcd: its layout, transactions and failures have one home",
	},
	{
		packages:  "...",
		except:    []string{"datapath/ovsdb"},
		forbidden: []string{"github.com/ovn-kubernetes/libovsdb/...", "github.com/ovn-org/libovsdb/..."},
		why:       "only datapath/ovsdb speaks OVSDB",
	},
	{
		packages:  "...",
		except:    []string{"datapath/ofconn"},
		forbidden: []string{"antrea.io/libOpenflow/...", "github.com/antrea-io/libOpenflow/..."},
		why:       "only datapath/ofconn speaks OpenFlow; the library's decoder may not see what came from a switch",
	},
	{
		packages:  "tpctl",
		forbidden: []string{module + "/datapath/...", module + "/controller/..."},
		why:       "tpctl writes intent and shows status; it works where no switch and no daemon is",
	},
	{
		packages:  "controller/...",
		forbidden: []string{module + "/tpctl/...", module + "/plugins/..."},
		why:       "front ends are siblings: cmd wires them",
	},
	{
		packages:  "...",
		except:    []string{"tpctl", "e2e", "e2e/demo"},
		forbidden: []string{module + "/e2e/..."},
		why:       "nothing of the product may lean on the lab, but `tpctl sandbox`, which is the lab",
	},
	{
		packages:  "e2e/lab",
		forbidden: []string{module + "/..."},
		why:       "the lab runs the built programs as users do, so it knows none of their insides",
	},
	{
		packages:  "...",
		forbidden: []string{module + "/cmd/...", "github.com/contiv/...", "antrea.io/ofnet/...", "github.com/antrea-io/ofnet/..."},
		why:       "see docs/dependencies.md; main packages only wire",
	},
}

// source is one folder with Go files.
type source struct {
	name    string              // path within the module
	imports map[string][]string // import path -> files; tests excepted
	docs    []string            // files with a package comment
	doc     string
	pkg     string
}

// sources reads all packages of the module, in every build configuration.
func sources(t *testing.T) []source {
	t.Helper()
	found := map[string]*source{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "tmp" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if d.IsDir() && path != "." && isFile(filepath.Join(path, "go.mod")) {
			return filepath.SkipDir // a module of its own
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		if found[dir] == nil {
			found[dir] = &source{name: dir, imports: map[string][]string{}}
		}
		return found[dir].read(path)
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []source
	for _, s := range found {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b source) int { return strings.Compare(a.name, b.name) })
	return all
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

func (s *source) read(path string) error {
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return err
	}
	s.pkg = f.Name.Name
	if f.Doc != nil && strings.TrimSpace(f.Doc.Text()) != "" {
		s.docs = append(s.docs, path)
		s.doc = f.Doc.Text()
	}
	for _, i := range f.Imports {
		name, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return err
		}
		s.imports[name] = append(s.imports[name], path)
	}
	return nil
}

// within tells whether a path matches a pattern of a rule.
func within(path, pattern string) bool {
	stem, deep := strings.CutSuffix(pattern, "...")
	if !deep {
		return path == pattern
	}
	stem = strings.TrimSuffix(stem, "/")
	return stem == "" || path == stem || strings.HasPrefix(path, stem+"/")
}

func TestImportsKeepTheRules(t *testing.T) {
	for _, s := range sources(t) {
		for _, r := range rules {
			if !within(s.name, r.packages) || slices.Contains(r.except, s.name) {
				continue
			}
			for imported, files := range s.imports {
				for _, f := range r.forbidden {
					if within(imported, f) {
						t.Errorf("%v: %s may not import %s: %s", files, s.name, imported, r.why)
					}
				}
			}
		}
	}
}

func TestImportsPointDown(t *testing.T) {
	for _, s := range sources(t) {
		from, known := levels[s.name]
		if !known {
			t.Errorf("package %s has no level: give it one in the table of this test and in docs/design", s.name)
			continue
		}
		for imported, files := range s.imports {
			name, own := strings.CutPrefix(imported, module+"/")
			if !own {
				continue
			}
			if to := levels[name]; to >= from && !strings.HasPrefix(name, s.name+"/") {
				t.Errorf("%v: %s (level %d) imports %s (level %d): imports point down", files, s.name, from, name, to)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, s := range sources(t) {
		want := "Package " + s.pkg + " "
		if s.pkg == "main" {
			want = "Command " + filepath.Base(s.name) + " "
		}
		switch {
		case len(s.docs) != 1:
			t.Errorf("package %s has %d package comments, want one: %v", s.name, len(s.docs), s.docs)
		case !strings.HasPrefix(s.doc, want):
			t.Errorf("the comment of package %s in %s does not begin with %q", s.name, s.docs[0], want)
		}
	}
}
