package tpctl

import (
	"fmt"

	"tuplenet/model"
)

// createdText is the sentence that tells of a new object.
func createdText(o model.Object) string { return nameText(o.Ref()) + " created" }

// nameText names an object as the sentences of success do.
func nameText(ref model.Ref) string {
	switch ref.Kind {
	case model.KindSwitchPort:
		return fmt.Sprintf("switch %s port %s", ref.Parent, ref.Name)
	case model.KindRouterPort, model.KindRoute, model.KindNAT:
		return fmt.Sprintf("router %s %s %s", ref.Parent, ref.Kind.Noun(), ref.Name)
	}
	return fmt.Sprintf("%s %s", ref.Kind, ref.Name)
}
