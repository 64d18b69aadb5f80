package tuplenet_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// generator is a `//go:generate` line. By convention its last word is what it writes: a file or a folder, relative to
// the folder of the line. That makes it possible to run it with another place to write to.
type generator struct {
	file   string
	dir    string
	words  []string
	output string
}

func generators(t *testing.T) []generator {
	t.Helper()
	var all []generator
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if command, ok := strings.CutPrefix(strings.TrimSpace(line), "//go:generate "); ok {
				words := strings.Fields(command)
				all = append(all, generator{file: path, dir: filepath.Dir(path), words: words, output: words[len(words)-1]})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestGeneratedFilesAreCurrent(t *testing.T) {
	all := generators(t)
	if len(all) == 0 {
		t.Fatal("no //go:generate line found")
	}
	for _, g := range all {
		t.Run(filepath.ToSlash(filepath.Join(g.dir, g.output)), func(t *testing.T) {
			fresh := filepath.Join(t.TempDir(), filepath.Base(g.output))
			words := append(append([]string{}, g.words[:len(g.words)-1]...), fresh)
			cmd := exec.Command(words[0], words[1:]...)
			cmd.Dir = g.dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %v\n%s", g.file, g.words, err, out)
			}
			want, got := files(t, fresh), files(t, filepath.Join(g.dir, g.output))
			for name, text := range want {
				if old, ok := got[name]; !ok || !bytes.Equal(old, text) {
					t.Errorf("%s is not what %s makes: run `make gen` and commit", filepath.Join(g.output, name), g.file)
				}
			}
			for name := range got {
				if _, ok := want[name]; !ok {
					t.Errorf("%s is no longer made by %s: delete it", filepath.Join(g.output, name), g.file)
				}
			}
		})
	}
}

// files reads a file, or all files below a folder, by their names relative to it.
func files(t *testing.T, root string) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		found[name] = text
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return found
}

func TestGoModIsTidy(t *testing.T) {
	out, err := exec.Command("go", "mod", "tidy", "-diff").CombinedOutput()
	if err != nil {
		t.Errorf("go.mod or go.sum is not tidy: %v\n%s", err, out)
	}
}
