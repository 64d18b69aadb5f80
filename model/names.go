package model

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxName is the longest name, in characters.
const MaxName = 253

// ValidateName checks a name of any object: 1 … MaxName printable characters, not only spaces, no "/" (names are parts
// of keys in the store).
func ValidateName(name string) error {
	switch n := utf8.RuneCountInString(name); {
	case name == "":
		return errors.New("a name is empty")
	case !utf8.ValidString(name):
		return fmt.Errorf("invalid name %q: not UTF-8", name)
	case strings.TrimSpace(name) == "":
		return fmt.Errorf("name %q contains only spaces", name)
	case strings.Contains(name, "/"):
		return fmt.Errorf(`invalid name %q: "/" is not allowed`, name)
	case n > MaxName:
		return fmt.Errorf("invalid name of %d characters: at most %d are allowed", n, MaxName)
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("invalid name %q: %U is not printable", name, r)
		}
	}
	return nil
}

// validateName names the field that a bad name is in.
func validateName(what, name string) error {
	if err := ValidateName(name); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// String is the kind, the parent (if any) and the name, joined by "/": the tail of the object's key in the store.
func (r Ref) String() string {
	if r.Parent == "" {
		return string(r.Kind) + "/" + r.Name
	}
	return string(r.Kind) + "/" + r.Parent + "/" + r.Name
}

func (r Ref) appendTo(text []byte) []byte {
	text = append(append(text, r.Kind...), '/')
	if r.Parent != "" {
		text = append(append(text, r.Parent...), '/')
	}
	return append(text, r.Name...)
}

// ParseRef reads what Ref.String writes. For a kind or a shape that is unknown here it returns an error together with a
// Ref that has the first part as its kind and all the rest as its name, so that it can be shown.
func ParseRef(text string) (Ref, error) {
	kind, rest, _ := strings.Cut(text, "/")
	at := slices.Index(allKinds, Kind(kind))
	if at < 0 {
		return Ref{Kind: Kind(kind), Name: rest}, fmt.Errorf("unknown kind of object %q", kind)
	}
	r := Ref{Kind: allKinds[at], Name: rest}
	if !r.Kind.HasParent() {
		if strings.Contains(rest, "/") || rest == "" {
			return r, fmt.Errorf("a %s has a key of two parts", kind)
		}
		return r, nil
	}
	parent, name, ok := strings.Cut(rest, "/")
	if !ok || parent == "" || name == "" || strings.Contains(name, "/") {
		return r, fmt.Errorf("a %s has a key of three parts", kind)
	}
	return Ref{Kind: r.Kind, Parent: parent, Name: name}, nil
}

// SpecKinds are the kinds that operators write.
func SpecKinds() []Kind {
	return []Kind{KindPool, KindSwitch, KindSwitchPort, KindRouter, KindRouterPort, KindRoute, KindNAT}
}

// Kinds are all kinds.
func Kinds() []Kind { return slices.Clone(allKinds) }

var allKinds = append(SpecKinds(), KindChassis, KindBinding)

// HasParent reports whether objects of the kind belong to another object (Ref.Parent).
func (k Kind) HasParent() bool {
	switch k {
	case KindSwitchPort, KindRouterPort, KindRoute, KindNAT:
		return true
	}
	return false
}

// Noun is how an operator calls an object of the kind.
func (k Kind) Noun() string {
	switch k {
	case KindSwitchPort, KindRouterPort:
		return "port"
	case KindRoute:
		return "static route"
	case KindNAT:
		return "NAT"
	}
	return string(k)
}

func (k Kind) known() bool {
	return slices.Contains(allKinds, k)
}

// Ref is the name of the switch in the store.
func (o *LogicalSwitch) Ref() Ref { return Ref{Kind: KindSwitch, Name: o.Name} }

// Ref is the name of the port in the store.
func (o *LogicalSwitchPort) Ref() Ref {
	return Ref{Kind: KindSwitchPort, Parent: o.Switch, Name: o.Name}
}

// Ref is the name of the router in the store.
func (o *LogicalRouter) Ref() Ref { return Ref{Kind: KindRouter, Name: o.Name} }

// Ref is the name of the port in the store.
func (o *LogicalRouterPort) Ref() Ref {
	return Ref{Kind: KindRouterPort, Parent: o.Router, Name: o.Name}
}

// Ref is the name of the chassis in the store.
func (o *Chassis) Ref() Ref { return Ref{Kind: KindChassis, Name: o.Name} }

// Ref is the name of the binding in the store: that of its port.
func (o *Binding) Ref() Ref { return Ref{Kind: KindBinding, Name: o.Port} }
