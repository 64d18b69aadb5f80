package store

import (
	"strings"
	"testing"

	"go.etcd.io/etcd/client/v3"
)

func TestT59_ClaimsThatDisagreeWithTheObjectsAreFoundAndSettled(t *testing.T) {
	s := newStore(t)
	apply(t, s, aNetwork, nil)
	if found, err := s.Misclaims(t.Context()); err != nil || len(found) != 0 {
		t.Fatalf("an untouched store: %v %v", found, err)
	}
	want := strings.Join(keysOf(t, s), " ")
	c, key := raw(t, s), s.keys.unique("")
	for k, v := range map[string]string{
		"ip/switch/A/010.000.000.200": "switchport/A/gone",  // left over
		"port/ghost":                  "nonsense",           // of nothing that could be
		"ip/switch/A/010.000.000.009": "switchport/A/other", // p's, in another name
	} {
		if _, err := c.Put(t.Context(), key+k, v); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Delete(t.Context(), key+"vni/", clientv3.WithPrefix()); err != nil { // three are missing
		t.Fatal(err)
	}
	found, err := s.Misclaims(t.Context())
	if err != nil || len(found) != 6 {
		t.Fatalf("%+v %v", found, err)
	}
	for _, m := range found {
		if err := s.Settle(t.Context(), m); err != nil {
			t.Errorf("%s: %v", m.Claim, err)
		}
	}
	if found, err := s.Misclaims(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("left: %+v %v", found, err)
	}
	if got := strings.Join(keysOf(t, s), " "); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}
