package tpctl

import (
	"fmt"
	"sort"
	"strings"

	"tuplenet/model"
	"tuplenet/model/store"
)

// onOff is an option that reads on or off.
type onOff bool

func (o *onOff) String() string {
	if *o {
		return "on"
	}
	return "off"
}

func (o *onOff) Set(text string) error {
	switch text {
	case "on":
		*o = true
	case "off":
		*o = false
	default:
		return fmt.Errorf("expected on or off")
	}
	return nil
}

// Type is shown in the help where no value has a name.
func (o *onOff) Type() string { return "on|off" }

// join renders addresses or prefixes in one cell.
func join[T fmt.Stringer](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = v.String()
	}
	return strings.Join(texts, ",")
}

func joinText[T ~string](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	return strings.Join(texts, ",")
}

// brokenOf returns the problems of a snapshot's objects below parent and of the given name; empty: of all.
func brokenOf(snap *store.Snapshot, parent, name string) []model.Problem {
	var out []model.Problem
	for ref, p := range snap.Problems {
		if (parent == "" || ref.Parent == parent) && (name == "" || ref.Name == name) {
			out = append(out, p)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Key < out[j].Key })
	return out
}
