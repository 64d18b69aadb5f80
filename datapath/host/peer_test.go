package host

import (
	"errors"
	"testing"
)

func TestADeviceWithoutAnotherEndIsNoVeth(t *testing.T) {
	if _, err := PeerOf("lo"); !errors.Is(err, ErrNoPeer) {
		t.Errorf("lo: %v", err)
	}
	if _, err := PeerOf("nothing0"); !errors.Is(err, ErrNoDevice) {
		t.Errorf("%v", err)
	}
}
