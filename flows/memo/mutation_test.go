package memo

import (
	"reflect"
	"testing"
)

// Each fault that the engine knows how to make is switched on alone, and the random test must notice it within so many
// scripts; with none it must be content. A fault that survives means that the random test is blind to a whole class of
// real mistakes.
func TestEveryFaultIsCaught(t *testing.T) {
	const seeds = 300
	gen := steps(25)
	scripts := [][]step{hiddenDepth()}
	script := func(i int) []step {
		for len(scripts) <= i {
			scripts = append(scripts, gen.Example(len(scripts)))
		}
		return scripts[i]
	}
	kinds := reflect.TypeFor[faults]()
	for i := range kinds.NumField() {
		t.Run(kinds.Field(i).Name, func(t *testing.T) {
			for seed := range seeds {
				if err := play(script(seed), only(i), 1); err != nil {
					t.Logf("caught by script %d: %v", seed, err)
					return
				}
			}
			t.Fatalf("not caught by %d scripts", seeds)
		})
	}
	t.Run("none", func(t *testing.T) {
		for seed, script := range scripts {
			if err := play(script, faults{}, 1); err != nil {
				t.Fatalf("script %d: %v", seed, err)
			}
		}
	})
}

// hiddenDepth makes a chain deeper while what its readers see of it stays equal, then changes the chain and its last reader
// at once. Too rare to wait for at random.
func hiddenDepth() []step {
	set := func(ops ...op) step { return step{ops: ops} }
	return []step{
		set(op{Key{"link", "3"}, 0}),
		set(op{Key{"rank", "4"}, 1}, op{Key{"rank", "5"}, 2}, op{Key{"link", "3"}, 2}, op{Key{"link", "2"}, 1},
			op{Key{"link", "1"}, 0}, op{Key{"link", "0"}, 4}, op{Key{"link", "4"}, 5}),
		set(op{Key{"link", "3"}, -1}, op{Key{"on", "3"}, 1}),
	}
}

// only has the i-th fault switched on.
func only(i int) (f faults) {
	p := reflect.ValueOf(&f).Elem().Field(i).Addr().UnsafePointer()
	*(*bool)(p) = true // the fields are unexported
	return f
}
