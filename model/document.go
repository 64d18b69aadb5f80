package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// DocumentVersion is the apiVersion of documents: objects as files, for people and for other systems.
const DocumentVersion = "tuplenet/v1"

// documentList is the kind of a document that holds others.
const documentList = "List"

// documentKinds are the names of the kinds in documents, in the order in which objects depend on each other.
var documentKinds = []struct {
	kind Kind
	name string
}{
	{KindPool, "Pool"},
	{KindSwitch, "LogicalSwitch"},
	{KindRouter, "LogicalRouter"},
	{KindRouterPort, "LogicalRouterPort"},
	{KindSwitchPort, "LogicalSwitchPort"},
	{KindRoute, "StaticRoute"},
	{KindNAT, "NATRule"},
	{KindChassis, "Chassis"},
	{KindBinding, "Binding"},
}

// documentMeta says which object a document is. All other fields of the object are in its spec.
type documentMeta struct {
	Name   string   `json:"name"`
	Switch string   `json:"switch,omitempty"` // that a port belongs to
	Router string   `json:"router,omitempty"` // that a port, route or NAT rule belongs to
	Tags   []string `json:"tags,omitempty"`
	// Revision of the store that a List was taken from.
	Revision int64 `json:"revision,omitempty"`
}

type document struct {
	APIVersion string                     `json:"apiVersion"`
	Kind       string                     `json:"kind"`
	Metadata   *documentMeta              `json:"metadata,omitempty"`
	Spec       map[string]json.RawMessage `json:"spec,omitempty"`
	Items      []json.RawMessage          `json:"items,omitempty"`
}

// inMetadata are the fields of objects that documents have in their metadata. The name of a binding is its port.
var inMetadata = []string{"name", "switch", "router", "tags"}

// WriteDocuments writes objects as a stream of YAML documents, in the order in which they depend on each other.
// revision of the store is noted in a comment; 0: it is not known.
func WriteDocuments(w io.Writer, revision int64, objects []Object) error {
	if revision > 0 {
		if _, err := fmt.Fprintf(w, "# tuplenet, revision %d of the store\n", revision); err != nil {
			return err
		}
	}
	for _, o := range InOrder(objects) {
		d, err := documentOf(o)
		if err != nil {
			return err
		}
		text, err := yaml.Marshal(d)
		if err != nil {
			return fmt.Errorf("write %s as YAML: %w", o.Ref(), err)
		}
		if _, err := fmt.Fprintf(w, "---\n%s", text); err != nil {
			return err
		}
	}
	return nil
}

// WriteDocumentList writes objects as one JSON document of kind List, in the order in which they depend on each other.
func WriteDocumentList(w io.Writer, revision int64, objects []Object) error {
	list := document{APIVersion: DocumentVersion, Kind: documentList, Metadata: &documentMeta{Name: "tuplenet", Revision: revision}}
	for _, o := range InOrder(objects) {
		d, err := documentOf(o)
		if err != nil {
			return err
		}
		item, err := json.Marshal(d)
		if err != nil {
			return fmt.Errorf("write %s as JSON: %w", o.Ref(), err)
		}
		list.Items = append(list.Items, item)
	}
	text, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return fmt.Errorf("write the list as JSON: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s\n", text)
	return err
}

// InOrder is the objects in an order in which each comes after those that it refers to; within a kind sorted by name.
func InOrder(objects []Object) []Object {
	rank := map[Kind]int{}
	for i, k := range documentKinds {
		rank[k.kind] = i
	}
	out := slices.Clone(objects)
	slices.SortStableFunc(out, func(a, b Object) int {
		x, y := a.Ref(), b.Ref()
		if x.Kind != y.Kind {
			return rank[x.Kind] - rank[y.Kind]
		}
		if c := strings.Compare(x.Parent, y.Parent); c != 0 {
			return c
		}
		return strings.Compare(x.Name, y.Name)
	})
	return out
}

func documentOf(o Object) (document, error) {
	ref := o.Ref()
	d := document{APIVersion: DocumentVersion, Kind: DocumentKind(ref.Kind), Metadata: &documentMeta{Name: ref.Name}}
	text, err := json.Marshal(o)
	if err != nil {
		return d, fmt.Errorf("write %s as JSON: %w", ref, err)
	}
	if err := json.Unmarshal(text, &d.Spec); err != nil {
		return d, fmt.Errorf("write %s as a document: %w", ref, err)
	}
	if tags := d.Spec["tags"]; tags != nil {
		if err := json.Unmarshal(tags, &d.Metadata.Tags); err != nil {
			return d, fmt.Errorf("write the tags of %s: %w", ref, err)
		}
	}
	if p, ok := o.(*LogicalSwitchPort); ok && p.Type == PortVIF && len(p.IPs) == 0 {
		d.Spec["ips"] = json.RawMessage("[]") // said, or the port would get addresses where the switch has subnets
	}
	switch parentField(ref.Kind) {
	case "switch":
		d.Metadata.Switch = ref.Parent
	case "router":
		d.Metadata.Router = ref.Parent
	}
	if ref.Kind == KindBinding {
		delete(d.Spec, "port")
	}
	for _, field := range inMetadata {
		delete(d.Spec, field)
	}
	return d, nil
}

// DocumentKind is the name of a kind in documents; empty if it has none.
func DocumentKind(k Kind) string {
	for _, d := range documentKinds {
		if d.kind == k {
			return d.name
		}
	}
	return ""
}

// parentField is the field of an object that names what it belongs to; empty if it belongs to nothing.
func parentField(k Kind) string {
	switch k {
	case KindSwitchPort:
		return "switch"
	case KindRouterPort, KindRoute, KindNAT:
		return "router"
	}
	return ""
}

// ReadDocuments reads what WriteDocuments and WriteDocumentList write, and what people write in that form: a stream of
// YAML or JSON documents, each an object or a List of objects. Unknown fields are refused.
//
// What the store chooses for an object that is added may be missing: VNI, id, key, MAC (then they are zero), and the
// addresses of a port (IPs is nil then, and empty but not nil if the document says that there are none). Everything else
// is validated. An object must not occur twice. The error is one line and names the document.
func ReadDocuments(r io.Reader) ([]Object, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read documents: %w", err)
	}
	in := reading{seen: map[Ref]bool{}}
	for i, part := range splitDocuments(text) {
		if err := in.part(part); err != nil {
			return nil, fmt.Errorf("document %d: %w", i+1, err)
		}
	}
	return in.objects, nil
}

// splitDocuments cuts a stream at its document markers (YAML 1.2.2 section 9.1.3) and drops empty documents.
func splitDocuments(text []byte) (parts [][]byte) {
	var part []byte
	flush := func() {
		if len(bytes.TrimSpace(part)) > 0 && !onlyComments(part) {
			parts = append(parts, part)
		}
		part = nil
	}
	for line := range bytes.Lines(text) {
		rest, marker := bytes.CutPrefix(line, []byte("---"))
		switch {
		case marker && len(bytes.TrimSpace(rest)) == 0:
			flush()
		case marker && (rest[0] == ' ' || rest[0] == '\t'):
			flush()
			part = append(part, rest...)
		case bytes.Equal(bytes.TrimSpace(line), []byte("...")):
			flush()
		default:
			part = append(part, line...)
		}
	}
	flush()
	return parts
}

func onlyComments(part []byte) bool {
	for line := range bytes.Lines(part) {
		if t := bytes.TrimSpace(line); len(t) > 0 && t[0] != '#' {
			return false
		}
	}
	return true
}

// reading collects the objects of documents.
type reading struct {
	objects []Object
	seen    map[Ref]bool
}

func (in *reading) part(text []byte) error {
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		var err error
		if text, err = yaml.YAMLToJSONStrict(text); err != nil {
			return fmt.Errorf("invalid YAML: %s", yamlText(err))
		}
	}
	return in.document(text, true)
}

// yamlText is what an error of the YAML reader says, in one line without its heading.
func yamlText(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	text = strings.TrimPrefix(text, "unmarshal errors:")
	return strings.Join(strings.Fields(text), " ")
}

func (in *reading) document(text []byte, listAllowed bool) error {
	var d document
	if err := decodeStrict(text, &d); err != nil {
		return err
	}
	if d.APIVersion != DocumentVersion {
		return fmt.Errorf("apiVersion %q is not %q", d.APIVersion, DocumentVersion)
	}
	if d.Kind != documentList {
		return in.object(d)
	}
	if !listAllowed || d.Spec != nil {
		return errors.New("a List has items, which are objects")
	}
	for i, item := range d.Items {
		if err := in.document(item, false); err != nil {
			return fmt.Errorf("item %d: %w", i+1, err)
		}
	}
	return nil
}

func (in *reading) object(d document) error {
	i := slices.IndexFunc(documentKinds, func(k struct {
		kind Kind
		name string
	}) bool {
		return k.name == d.Kind
	})
	switch {
	case i < 0:
		return fmt.Errorf("unknown kind %q", d.Kind)
	case d.Items != nil:
		return fmt.Errorf("%s: only a List has items", d.Kind)
	case d.Metadata == nil || d.Metadata.Name == "":
		return fmt.Errorf("%s: metadata.name is missing", d.Kind)
	}
	kind, what := documentKinds[i].kind, d.Kind+" "+d.Metadata.Name
	o := New(kind)
	fields, err := fieldsOf(kind, d)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := decodeStrict(text, o); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := ValidateDraft(o); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if in.seen[o.Ref()] {
		return fmt.Errorf("%s is given twice", what)
	}
	in.seen[o.Ref()] = true
	in.objects = append(in.objects, o)
	return nil
}

// fieldsOf are the fields of an object: those of the spec and those of the metadata.
func fieldsOf(kind Kind, d document) (map[string]json.RawMessage, error) {
	fields := d.Spec
	if fields == nil {
		fields = map[string]json.RawMessage{}
	}
	for _, name := range inMetadata {
		if fields[name] != nil {
			return nil, fmt.Errorf("%s belongs into the metadata", name)
		}
	}
	m := d.Metadata
	values := map[string]any{"name": m.Name, "switch": m.Switch, "router": m.Router, "tags": m.Tags}
	if kind == KindBinding {
		values = map[string]any{"port": m.Name, "switch": m.Switch, "router": m.Router, "tags": m.Tags}
	}
	for name, v := range values {
		if s, ok := v.(string); ok && s == "" && name != parentField(kind) || name == "tags" && len(m.Tags) == 0 {
			continue
		}
		text, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		fields[name] = text
	}
	if p := parentField(kind); p != "" && string(fields[p]) == `""` {
		return nil, fmt.Errorf("metadata.%s is missing", p)
	}
	return fields, nil
}

// ValidateDraft validates an object of which what the store chooses may be missing.
func ValidateDraft(o Object) error {
	mac := MAC{0xf2, 0, 0, 0, 0, 1}
	switch o := o.(type) {
	case *LogicalSwitch:
		return o.validateDraft()
	case *LogicalRouter:
		c := *o
		c.ID = max(c.ID, 1)
		return c.Validate()
	case *LogicalSwitchPort:
		if o.Type == "" {
			o.Type = PortVIF
		}
		c := *o
		c.Key = max(c.Key, 1)
		if c.MAC.IsZero() && c.Type != PortPatch {
			c.MAC = mac
		}
		return c.Validate()
	case *LogicalRouterPort:
		c := *o
		c.Key = max(c.Key, 1)
		if c.MAC.IsZero() {
			c.MAC = mac
		}
		return c.Validate()
	}
	return o.Validate()
}
