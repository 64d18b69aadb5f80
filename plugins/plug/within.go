package plug

import (
	"fmt"

	"github.com/vishvananda/netns"
)

// Within runs f on a thread in the network namespace of a file, on which f must not start goroutines to do its work. A socket that f opens
// belongs to that namespace, wherever it is used. Errors: ErrNamespace, and those of f.
func Within(namespace string, f func() error) error {
	ns, err := netns.GetFromPath(namespace)
	if err != nil {
		return fmt.Errorf("%w: open %s: %w", ErrNamespace, namespace, err)
	}
	defer ns.Close()
	return inNamespace(ns, f)
}
