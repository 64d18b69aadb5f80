package memo

// kind of a node of the dependency graph.
type kind uint8

const (
	factNode    kind = iota // key = the fact's key
	entryNode               // key = {index, entry}
	derivedNode             // key = {derived kind, id}
	rootsNode               // key = {feature, "roots"}: the ids of a feature, or its groups
	groupNode               // key = {feature, group}: the ids in a group
	unitNode                // key = {feature, id}
)

// node is one thing that can be read or that reads.
type node struct {
	key   Key
	value any // a fact (nil = absent), *members of an entry, a derived value, []string of roots and groups; unused in units
	kind  kind

	dirty    bool // something that it read has changed since it was computed, or it never was computed
	queued   bool // waits in core.queue
	active   bool // is being computed
	orphaned bool // stands in core.orphans

	id      int32   // position in core.nodes
	feature int32   // of roots and units: position in Config.Features
	height  int32   // greater than the height of everything read; 0 for facts and entries
	readers int32   // first edge of the list of those who read this; 0 = none
	mark    uint64  // stamp of the frame that noted this node last
	settled uint64  // round in which final found the value to be final; of facts: position in core.pending and one more, 0 if not there
	reads   []int32 // edges to what was read, in the order of reading
}

// edge is one recorded read: 16 bytes here and 4 in node.reads. The edges of one source form a doubly linked list, so
// that a read is forgotten in constant time however many others read the same.
type edge struct{ source, reader, prev, next int32 }

// graph holds the nodes and edges. Both are named by small numbers and reused. Position 0 of either is not used.
type graph struct {
	nodes     []*node
	freeNodes []int32
	edges     []edge
	freeEdge  int32 // first of the unused edges, linked by next
	liveEdges int
}

func newGraph() graph { return graph{nodes: make([]*node, 1), edges: make([]edge, 1)} }

func (g *graph) add(n *node) *node {
	if last := len(g.freeNodes) - 1; last >= 0 {
		n.id = g.freeNodes[last]
		g.freeNodes = g.freeNodes[:last]
		g.nodes[n.id] = n
		return n
	}
	n.id = int32(len(g.nodes))
	g.nodes = append(g.nodes, n)
	return n
}

// remove frees a node that nobody reads and that reads nothing any more.
func (g *graph) remove(n *node) {
	g.nodes[n.id] = nil
	g.freeNodes = append(g.freeNodes, n.id)
}

func (g *graph) connect(source, reader *node) int32 {
	x := g.freeEdge
	if x != 0 {
		g.freeEdge = g.edges[x].next
	} else {
		x = int32(len(g.edges))
		g.edges = append(g.edges, edge{})
	}
	g.edges[x] = edge{source: source.id, reader: reader.id, next: source.readers}
	if source.readers != 0 {
		g.edges[source.readers].prev = x
	}
	source.readers = x
	g.liveEdges++
	return x
}

// disconnect forgets edge x and returns its source.
func (g *graph) disconnect(x int32) *node {
	e := g.edges[x]
	source := g.nodes[e.source]
	if e.prev != 0 {
		g.edges[e.prev].next = e.next
	} else {
		source.readers = e.next
	}
	if e.next != 0 {
		g.edges[e.next].prev = e.prev
	}
	g.edges[x] = edge{next: g.freeEdge}
	g.freeEdge = x
	g.liveEdges--
	return source
}
