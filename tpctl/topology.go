package tpctl

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
)

// graph is a drawing: what there is and how it hangs together.
type graph struct {
	Nodes []graphNode `json:"nodes"`
	Edges []graphEdge `json:"edges"`
}

type graphNode struct {
	ID   string `json:"id"` // kind and name, as objects go by in the store
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Detail is what to write below the name.
	Detail string `json:"detail,omitempty"`
	// Chassis that the node belongs to: where a port is, or what a router is pinned to.
	Chassis string `json:"chassis,omitempty"`
	State   string `json:"state,omitempty"` // of ports and chassis
}

type graphEdge struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Detail string `json:"detail,omitempty"`
}

// Kinds of nodes that are no objects.
const (
	nodeUnderlay = "underlay" // the network between the chassis
	nodePhysical = "physical" // a network behind a patch port
)

// Views of the deployment.
const (
	viewLogical  = "logical"
	viewPhysical = "physical"
	viewBoth     = "both"
)

func (a *app) topologyCommand() *cobra.Command {
	var view string
	c := a.command(verb{
		use: "topology", short: "Draw the logical and the physical network",
		long: `Draw switches, routers, ports and how they are linked (logical), and chassis with the ports that they have (physical).
-o dot is for Graphviz ("tpctl topology -o dot | dot -Tsvg"), -o mermaid for Markdown that renders diagrams; json and yaml
have the nodes and edges for programs, plain is text.`,
		max: 0, wrong: "no parameters required, only options",
		run: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains([]string{viewLogical, viewPhysical, viewBoth}, view) {
				return usagef("--view is %s, %s or %s", viewLogical, viewPhysical, viewBoth)
			}
			form := cmd.Flags().Lookup("output").Value.String()
			if form == "dot" || form == "mermaid" { // forms of this command only
				if err := cmd.Flags().Set("output", string(formatPlain)); err != nil {
					return err
				}
			}
			set, err := resolveSettings(a.flags, a.env)
			if err != nil {
				return err
			}
			st, err := open(set)
			if err != nil {
				return err
			}
			defer st.Close()
			snap, err := st.Snapshot(cmd.Context())
			if err != nil {
				return err
			}
			live, err := st.Live(cmd.Context())
			if err != nil {
				return err
			}
			g := drawTopology(snap, live, view)
			switch {
			case form == "dot":
				return g.writeDOT(a.env.Stdout)
			case form == "mermaid":
				return g.writeMermaid(a.env.Stdout)
			case set.Output.structured():
				return writeDocument(a.env.Stdout, set.Output, g)
			}
			return g.writeText(a.env.Stdout)
		},
	})
	c.Flags().StringVar(&view, "view", viewBoth, "what to draw: `"+viewLogical+"|"+viewPhysical+"|"+viewBoth+"`")
	return c
}

// drawTopology makes the drawing, in the order of names.
func drawTopology(snap *store.Snapshot, live map[string]store.Identity, view string) graph {
	g := graph{Nodes: []graphNode{}, Edges: []graphEdge{}}
	if view != viewPhysical {
		g.logical(snap)
	}
	if view != viewLogical {
		g.physical(snap, live)
	}
	g.ports(snap, live, view)
	return g
}

func (g *graph) node(o model.Object, detail, chassis, state string) {
	ref := o.Ref()
	g.Nodes = append(g.Nodes, graphNode{ID: ref.String(), Kind: string(ref.Kind), Name: ref.Name, Detail: detail, Chassis: chassis, State: state})
}

func (g *graph) edge(from, to, detail string) {
	g.Edges = append(g.Edges, graphEdge{From: from, To: to, Detail: detail})
}

// logical draws switches, routers and the links between them.
func (g *graph) logical(snap *store.Snapshot) {
	for _, ls := range snap.Switches() {
		g.node(ls, "VNI "+ls.VNI.String(), "", "")
	}
	for _, lr := range snap.Routers() {
		g.node(lr, "", lr.Chassis, "")
	}
	switchOf := map[string]*model.LogicalSwitchPort{}
	for _, p := range snap.SwitchPorts("") {
		switchOf[p.Name] = p
	}
	for _, rp := range snap.RouterPorts("") {
		from := model.Ref{Kind: model.KindRouter, Name: rp.Router}.String()
		sp := switchOf[rp.Peer]
		if sp == nil || sp.Peer != rp.Name {
			g.node(rp, join(rp.Networks), "", "")
			g.edge(from, rp.Ref().String(), "leads nowhere")
			continue
		}
		g.edge(from, model.Ref{Kind: model.KindSwitch, Name: sp.Switch}.String(), join(rp.Networks))
	}
}

// physical draws the chassis on the underlay.
func (g *graph) physical(snap *store.Snapshot, live map[string]store.Identity) {
	if len(snap.Chassis()) == 0 {
		return
	}
	g.Nodes = append(g.Nodes, graphNode{ID: nodeUnderlay, Kind: nodeUnderlay, Name: nodeUnderlay})
	for _, c := range snap.Chassis() {
		state := stateDown
		if _, alive := live[c.Name]; alive {
			state = stateUp
		}
		detail := ""
		if c.Gateway {
			detail = "gateway"
		}
		g.node(c, detail, "", state)
		g.edge(c.Ref().String(), nodeUnderlay, join(c.IPs))
	}
}

// ports draws ports of workloads and patch ports: at their switch, at their chassis, or at both.
func (g *graph) ports(snap *store.Snapshot, live map[string]store.Identity, view string) {
	for _, p := range snap.SwitchPorts("") {
		if p.Type == model.PortRouter {
			continue
		}
		at := p.Chassis
		if b := snap.Binding(p.Name); b != nil {
			at = b.Chassis
		}
		_, alive := live[at]
		state := "unbound"
		switch {
		case at != "" && alive:
			state = stateUp
		case at != "":
			state = stateDown
		}
		id := p.Ref().String()
		g.node(p, join(p.IPs), at, state)
		if view != viewPhysical {
			g.edge(model.Ref{Kind: model.KindSwitch, Name: p.Switch}.String(), id, "")
		}
		if view != viewLogical && snap.Objects[model.Ref{Kind: model.KindChassis, Name: at}] != nil {
			g.edge(model.Ref{Kind: model.KindChassis, Name: at}.String(), id, "")
		}
		if p.Type == model.PortPatch {
			net := graphNode{ID: nodePhysical + "/" + p.Name, Kind: nodePhysical, Name: firstOf(p.Bridge, "physical network")}
			g.Nodes = append(g.Nodes, net)
			g.edge(id, net.ID, "")
		}
	}
}

// shapes of nodes, in Graphviz and in Mermaid (what stands before and after the label).
var shapes = map[string]struct{ dot, before, after string }{
	string(model.KindSwitch):     {"box", "[", "]"},
	string(model.KindRouter):     {"diamond", "{{", "}}"},
	string(model.KindRouterPort): {"point", "(", ")"},
	string(model.KindSwitchPort): {"ellipse", "(", ")"},
	string(model.KindChassis):    {"box3d", "[[", "]]"},
	nodeUnderlay:                 {"cylinder", "[(", ")]"},
	nodePhysical:                 {"cylinder", "[(", ")]"},
}

// lines of the label of a node.
func (n graphNode) lines() []string {
	out := []string{n.Name}
	if n.Detail != "" {
		out = append(out, n.Detail)
	}
	if n.Kind == string(model.KindRouter) && n.Chassis != "" {
		out = append(out, "at "+n.Chassis)
	}
	return out
}

// writeDOT writes the drawing in the language of Graphviz (https://graphviz.org/doc/info/lang.html).
func (g graph) writeDOT(w io.Writer) error {
	quote := func(text string) string {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
	}
	var b strings.Builder
	b.WriteString("graph tuplenet {\n  node [fontsize=10]\n  edge [fontsize=9]\n")
	for _, n := range g.Nodes {
		label := strings.ReplaceAll(quote(strings.Join(n.lines(), "\x00")), "\x00", `\n`)
		style := ""
		if n.State == stateDown || n.State == "unbound" {
			style = ", style=dashed"
		}
		fmt.Fprintf(&b, "  %s [shape=%s, label=%s%s]\n", quote(n.ID), shapes[n.Kind].dot, label, style)
	}
	for _, e := range g.Edges {
		fmt.Fprintf(&b, "  %s -- %s", quote(e.From), quote(e.To))
		if e.Detail != "" {
			fmt.Fprintf(&b, " [label=%s]", quote(e.Detail))
		}
		b.WriteByte('\n')
	}
	b.WriteString("}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// writeMermaid writes the drawing as a Mermaid flowchart (https://mermaid.js.org/syntax/flowchart.html). Nodes are numbered, since
// its identifiers allow few characters.
func (g graph) writeMermaid(w io.Writer) error {
	escape := strings.NewReplacer(`"`, "#quot;", "<", "&lt;", ">", "&gt;").Replace
	id := map[string]string{}
	var b strings.Builder
	b.WriteString("graph LR\n")
	for i, n := range g.Nodes {
		id[n.ID] = "n" + strconv.Itoa(i)
		lines := n.lines()
		for j := range lines {
			lines[j] = escape(lines[j])
		}
		s := shapes[n.Kind]
		fmt.Fprintf(&b, "  %s%s\"%s\"%s\n", id[n.ID], s.before, strings.Join(lines, "<br/>"), s.after)
	}
	for _, e := range g.Edges {
		from, to := id[e.From], id[e.To]
		switch {
		case from == "" || to == "": // an object that is out of service
		case e.Detail != "":
			fmt.Fprintf(&b, "  %s ---|\"%s\"| %s\n", from, escape(e.Detail), to)
		default:
			fmt.Fprintf(&b, "  %s --- %s\n", from, to)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeText writes each node but ports, with what hangs on it.
func (g graph) writeText(w io.Writer) error {
	if len(g.Nodes) == 0 {
		_, err := fmt.Fprintln(w, nothingFound)
		return err
	}
	nodes := map[string]graphNode{}
	for _, n := range g.Nodes {
		nodes[n.ID] = n
	}
	var b strings.Builder
	for _, n := range g.Nodes {
		if n.Kind == string(model.KindSwitchPort) || n.Kind == string(model.KindRouterPort) || n.Kind == nodePhysical {
			continue
		}
		fmt.Fprintf(&b, "%s%s\n", strings.TrimPrefix(n.Kind+" "+strings.Join(n.lines(), ", "), nodeUnderlay+" "), inBrackets(n.State))
		for _, e := range g.Edges {
			other := e.To
			if e.To == n.ID {
				other = e.From
			} else if e.From != n.ID {
				continue
			}
			o := nodes[other]
			text := strings.TrimPrefix(o.Kind+" "+o.Name, nodeUnderlay+" ")
			if o.Kind == string(model.KindSwitchPort) {
				text = "port " + strings.TrimSpace(o.Name+" "+o.Detail)
				if o.Chassis != "" {
					text += " on " + o.Chassis
				}
			}
			if e.Detail != "" {
				text += " by " + e.Detail
			}
			fmt.Fprintf(&b, "  - %s%s\n", text, inBrackets(o.State))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func inBrackets(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}
