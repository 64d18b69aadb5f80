package store

import (
	"net/netip"
	"strings"

	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// DefaultPrefix is where a deployment lives in etcd.
const DefaultPrefix = "/tuplenet"

// layout makes the keys of a deployment. Every key is <prefix>/v1/<part>/…:
//
//	spec/<kind>/[<parent>/]<name>   intent, one key an object
//	chassis/<system-id>             what a node is
//	binding/<lsp>                   where a port is
//	unique/<claim>                  exists = taken; its value is the owner (model.Ref.String)
//	poollength/<pool>/<length>      a prefix of that length was taken from the pool once
//	live/<system-id>                leased: the daemon is alive, and who it is
//	seen/<system-id>                leased for long: its lease tells when the daemon was last alive
//	status/<system-id>              leased: what is applied, problems
//	sync/<id>                       leased: a waiter asks for receipts
//	ask/<system-id>/<id>            leased: somebody asks a node
//	answer/<id>/<part>              leased by who asked: the node's answer
//	note/<plugin>/<name>            what a plugin has to remember
//	presence/<system-id>            of which switches the node has ports
//	meta                            version of the schema, identity of the deployment
type layout struct{ root string } // ends in "/v1/"

// newLayout makes the layout under a prefix, with or without slashes at its ends.
func newLayout(prefix string) layout {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	prefix = strings.Trim(prefix, "/")
	if prefix != "" {
		prefix = "/" + prefix
	}
	return layout{root: prefix + "/v1/"}
}

func (l layout) meta() string                    { return l.root + "meta" }
func (l layout) spec() string                    { return l.root + "spec/" }
func (l layout) live(chassis string) string      { return l.root + "live/" + chassis }
func (l layout) seen(chassis string) string      { return l.root + "seen/" + chassis }
func (l layout) status(chassis string) string    { return l.root + "status/" + chassis }
func (l layout) sync(id string) string           { return l.root + "sync/" + id }
func (l layout) presence(chassis string) string  { return l.root + "presence/" + chassis }
func (l layout) asks(chassis string) string      { return l.root + "ask/" + chassis + "/" }
func (l layout) note(plugin, name string) string { return l.root + "note/" + plugin + "/" + name }
func (l layout) lengths(pool string) string      { return l.root + "poollength/" + pool + "/" }
func (l layout) answers(id string) string        { return l.root + "answer/" + id + "/" }

// unique is the key of a claim. Addresses in it are written at full length, so that the keys sort as they do.
func (l layout) unique(claim string) string {
	if i := strings.LastIndexByte(claim, '/') + 1; strings.HasPrefix(claim, "ip/") {
		if a, err := netip.ParseAddr(claim[i:]); err == nil {
			claim = claim[:i] + model.FullLength(a)
		}
	}
	return l.root + "unique/" + claim
}

// nodes is the range of what nodes write of themselves that others follow: bindings and chassis. The two folders are
// neighbours, so that one watch covers both.
func (l layout) nodes() (from, end string) {
	return l.root + "binding/", clientv3.GetPrefixRangeEnd(l.root + "chassis/")
}

func isSpec(k model.Kind) bool { return k != model.KindChassis && k != model.KindBinding }

// object is the key of an object.
func (l layout) object(r model.Ref) string {
	if isSpec(r.Kind) {
		return l.spec() + r.String()
	}
	return l.root + r.String()
}

// isObject tells whether a key is that of an object, readable or not.
func (l layout) isObject(key string) bool {
	first, end := l.nodes()
	return strings.HasPrefix(key, l.spec()) || key >= first && key < end
}

// folder is the prefix of all objects of a kind.
func (l layout) folder(k model.Kind) string {
	if isSpec(k) {
		return l.spec() + string(k) + "/"
	}
	return l.root + string(k) + "/"
}

// children is the prefix of all objects of a kind that belong to a parent.
func (l layout) children(k model.Kind, parent string) string { return l.folder(k) + parent + "/" }

// ref reads the key of an object; the error says why it is not one, and then the Ref is good for showing only.
func (l layout) ref(key string) (model.Ref, error) {
	if tail, ok := strings.CutPrefix(key, l.spec()); ok {
		return model.ParseRef(tail)
	}
	return model.ParseRef(strings.TrimPrefix(key, l.root))
}
