package tuplenet_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// claims is the list of behaviours that must have tests.
const claims = "docs/design/coverage.txt"

var (
	testName = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	leading  = regexp.MustCompile(`^[-_]?([TUXCGP]\d\d)`)
)

// identifiers are those that a name begins with, as in T24_X14_….
func identifiers(name string) (ids []string) {
	name = strings.TrimPrefix(name, "Test")
	for {
		m := leading.FindStringSubmatch(name)
		if m == nil {
			return ids
		}
		ids = append(ids, m[1])
		name = name[len(m[0]):]
	}
}

// covered maps identifiers to the tests and scenarios that carry them.
func covered(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin" || d.Name() == "tmp") {
				return filepath.SkipDir
			}
		case strings.HasSuffix(path, ".txtar"):
			for _, id := range identifiers(d.Name()) {
				found[id] = append(found[id], path)
			}
		case strings.HasSuffix(path, "_test.go"):
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range testName.FindAllStringSubmatch(string(b), -1) {
				for _, id := range identifiers(m[1]) {
					found[id] = append(found[id], filepath.Dir(path)+"."+m[1])
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// With -v it prints the table of all identifiers, claimed or not.
func TestEveryClaimedBehaviourHasATest(t *testing.T) {
	b, err := os.ReadFile(claims)
	if err != nil {
		t.Fatal(err)
	}
	words := map[string]string{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, about, _ := strings.Cut(line, " ")
		if len(identifiers(id)) != 1 || about == "" || words[id] != "" {
			t.Errorf("%s: %q is not an identifier of its own and what it is about", claims, line)
		}
		words[id] = about
	}
	tests := covered(t)
	all := maps.Clone(tests)
	for id := range words {
		if all[id] == nil {
			all[id] = []string{}
			t.Errorf("%s (%s) is claimed in %s and in the name of no test", id, words[id], claims)
		}
	}
	if testing.Verbose() {
		for _, id := range slices.Sorted(maps.Keys(all)) {
			fmt.Printf("%s  %-40s %s\n", id, words[id], strings.Join(all[id], "\n"+strings.Repeat(" ", 46)))
		}
	}
}
