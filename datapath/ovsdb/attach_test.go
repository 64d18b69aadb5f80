package ovsdb

import (
	"context"
	"errors"
	"testing"

	"github.com/ovn-kubernetes/libovsdb/client"
)

// Between the end of a connection and the moment at which Run notices, the client has no copy of the database any more.
func TestAPortIsNotTakenForGoneBecauseTheConnectionIs(t *testing.T) {
	db, err := databaseModel()
	if err != nil {
		t.Fatal(err)
	}
	ended, err := client.NewOVSDBClient(db)
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Socket: "/nowhere"})
	s.setClient(ended)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nobody waits for the next connection
	err = s.DeletePort(ctx, "tp1", func(map[string]string) bool { return true })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("delete: %v, want that there is no connection", err)
	}
	err = s.AddPort(ctx, Port{Name: "tp1", Bridge: "br-int"})
	if !errors.Is(err, context.Canceled) || errors.Is(err, ErrNoBridge) {
		t.Errorf("add: %v, want that there is no connection", err)
	}
}
