package store

import (
	"slices"
	"testing"

	"tuplenet/model"
)

// The members of etcd and the deployments in it can be listed, for completion.
func TestMembersAndPrefixesAreFound(t *testing.T) {
	ctx := t.Context()
	for _, prefix := range []string{"/found-a", "/found-b/deep"} {
		st := openAt(t, Config{Prefix: prefix})
		for _, name := range []string{"LS-A", "LS-B"} {
			if _, _, err := st.AddSwitch(ctx, &model.LogicalSwitch{Name: name}); err != nil {
				t.Fatal(err)
			}
		}
	}
	st := openAt(t, Config{Prefix: "/found-a"})
	prefixes, err := st.Prefixes(ctx, 1000)
	if err != nil || !slices.Contains(prefixes, "/found-a") || !slices.Contains(prefixes, "/found-b/deep") {
		t.Errorf("prefixes %v, %v", prefixes, err)
	}
	if few, err := st.Prefixes(ctx, 1); err != nil || len(few) != 1 {
		t.Errorf("asked for one: %v, %v", few, err)
	}
	// The test's own server was given no port, so it does not say a useful one.
	if members, err := st.Members(ctx); err != nil || len(members) != 0 {
		t.Errorf("members %v, %v", members, err)
	}
}
