package compile_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"tuplenet/flows/compile"
	"tuplenet/flows/memo"
)

var update = flag.Bool("update", false, "write what was compiled into the scenario files")

// Every scenario compiles on every chassis to the flows that its file says, whatever the order in which the facts
// arrive, also when everything is taken away and put back in between.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			w := parse(t, section(ar, "intent"))
			for _, chassis := range w.chassis() {
				got := sequences(t, w.see(chassis))
				text := strings.Join(strip(got), "\n") + "\n"
				if *update {
					setSection(ar, chassis, text)
				} else if want := section(ar, chassis); want != text {
					t.Errorf("%s differs; review with -update and git diff:\n%s", chassis, firstDifference(want, text))
				}
			}
			if *update {
				if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// sequences compiles facts in several ways that must not matter, and returns the one result.
func sequences(t *testing.T, facts map[memo.Key]any) []string {
	t.Helper()
	var keys []memo.Key
	for k := range facts {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b memo.Key) int { return strings.Compare(a.String(), b.String()) })
	reversed := slices.Clone(keys)
	slices.Reverse(reversed)

	setAll := func(e *memo.Engine[compile.Output], keys []memo.Key, each bool) {
		for _, k := range keys {
			e.Set(k, facts[k])
			if each {
				e.Update()
			}
		}
		e.Update()
	}
	at := func(name string, build func(e *memo.Engine[compile.Output])) []string {
		e := compile.New()
		build(e)
		lines := compiled(e)
		if again := e.Recompute(); len(again) != 0 {
			t.Errorf("%s: recompute found %d missed changes, first %v", name, len(again), again[0].Unit)
		}
		return lines
	}
	want := at("at once", func(e *memo.Engine[compile.Output]) { setAll(e, keys, false) })
	for name, build := range map[string]func(e *memo.Engine[compile.Output]){
		"one by one":          func(e *memo.Engine[compile.Output]) { setAll(e, keys, true) },
		"one by one reversed": func(e *memo.Engine[compile.Output]) { setAll(e, reversed, true) },
		"doubled":             func(e *memo.Engine[compile.Output]) { setAll(e, keys, false); setAll(e, reversed, true) },
		"emptied in between": func(e *memo.Engine[compile.Output]) {
			setAll(e, keys, false)
			before := 0
			for _, k := range keys {
				e.Delete(k)
				e.Update()
			}
			e.Outputs(func(u memo.Unit, o compile.Output) {
				if u.Feature != "base" && u.Feature != "tunnel" {
					before++
				}
			})
			if before != 0 {
				t.Errorf("%d units are left when everything is deleted", before)
			}
			setAll(e, reversed, true)
		},
	} {
		if got := at(name, build); !slices.Equal(got, want) {
			t.Errorf("%s: differs from the facts at once:\n%s", name, firstDifference(strings.Join(want, "\n"), strings.Join(got, "\n")))
		}
	}
	return want
}

func section(ar *txtar.Archive, name string) string {
	for _, f := range ar.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

func setSection(ar *txtar.Archive, name, text string) {
	for i := range ar.Files {
		if ar.Files[i].Name == name {
			ar.Files[i].Data = []byte(text)
			return
		}
	}
	ar.Files = append(ar.Files, txtar.File{Name: name, Data: []byte(text)})
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := 0; i < max(len(w), len(g)); i++ {
		a, b := "", ""
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			return "want " + a + "\n got " + b
		}
	}
	return "no difference"
}
