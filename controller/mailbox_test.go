package controller

import (
	"reflect"
	"slices"
	"testing"

	"tuplenet/model"
	"tuplenet/model/store"
)

func changed(name string, rev int64, vni model.VNI) store.Change {
	c := store.Change{Ref: model.Ref{Kind: model.KindSwitch, Name: name}, Revision: rev}
	if vni != 0 {
		c.Object = &model.LogicalSwitch{Name: name, VNI: vni}
	}
	return c
}

func TestUnreadChangesOfOneObjectBecomeOne(t *testing.T) {
	m := newMailbox()
	for rev := int64(1); rev <= 1000; rev++ {
		m.deliver(store.Update{Revision: rev, Changes: []store.Change{changed("a", rev, model.VNI(rev))}})
	}
	m.deliver(store.Update{Revision: 1001, Changes: []store.Change{changed("b", 1001, 0)}})
	<-m.ready
	u, _ := m.take()
	if u.Reset || u.Revision != 1001 || len(u.Changes) != 2 {
		t.Fatalf("took %+v", u)
	}
	for _, c := range u.Changes {
		if c.Ref.Name == "a" && c.Revision != 1000 {
			t.Errorf("not the newest: %+v", c)
		}
	}
	if u, _ := m.take(); len(u.Changes) != 0 || u.Revision != 1001 {
		t.Errorf("the second time: %+v", u)
	}
	select {
	case <-m.ready:
		t.Error("ready although empty")
	default:
	}
}

func TestACompleteStateReplacesWhatIsUnread(t *testing.T) {
	m := newMailbox()
	m.deliver(store.Update{Revision: 50, Changes: []store.Change{changed("a", 50, 1)}, Waiters: []store.Waiter{{ID: "old", Revision: 50}}, Gone: []string{"x"}})
	m.deliver(store.Update{Reset: true, Revision: 7, Changes: []store.Change{changed("b", 7, 2)}, Waiters: []store.Waiter{{ID: "new", Revision: 6}}})
	m.deliver(store.Update{Revision: 8, Changes: []store.Change{changed("c", 8, 3)}})
	u, _ := m.take()
	if !u.Reset || u.Revision != 8 || len(u.Changes) != 2 || !reflect.DeepEqual(u.Waiters, []store.Waiter{{ID: "new", Revision: 6}}) || len(u.Gone) != 0 {
		t.Errorf("took %+v", u)
	}
	if u, _ := m.take(); u.Reset {
		t.Error("reset twice")
	}
}

func TestAWaiterThatIsGoneBeforeItWasReadIsNotAnswered(t *testing.T) {
	m := newMailbox()
	m.deliver(store.Update{Revision: 5, Waiters: []store.Waiter{{ID: "a", Revision: 5}, {ID: "b", Revision: 5}}})
	m.deliver(store.Update{Revision: 5, Gone: []string{"a", "b"}})
	m.deliver(store.Update{Revision: 6, Waiters: []store.Waiter{{ID: "b", Revision: 6}}})
	u, _ := m.take()
	if !reflect.DeepEqual(u.Waiters, []store.Waiter{{ID: "b", Revision: 6}}) || !slices.Equal(u.Gone, []string{"a", "b"}) {
		t.Errorf("took %+v", u)
	}
}

func TestThatAWaiterIsGoneIsReadWithWhatComesNext(t *testing.T) {
	m := newMailbox()
	ready := func() bool {
		select {
		case <-m.ready:
			return true
		default:
			return false
		}
	}
	m.deliver(store.Update{Revision: 5, Waiters: []store.Waiter{{ID: "a", Revision: 5}}})
	if !ready() {
		t.Fatal("a waiter waits")
	}
	m.take()
	m.deliver(store.Update{Revision: 5, Gone: []string{"a"}})
	if ready() {
		t.Error("its end wakes the loop")
	}
	m.deliver(store.Update{Revision: 6, Changes: []store.Change{changed("x", 6, 1)}})
	if !ready() {
		t.Fatal("a change waits")
	}
	if u, since := m.take(); !slices.Equal(u.Gone, []string{"a"}) || len(u.Changes) != 1 || since.IsZero() {
		t.Errorf("took %+v", u)
	}
	m.deliver(store.Update{Revision: 7, Gone: []string{"b"}})
	if !ready() {
		t.Error("the revision is not noticed")
	}
}

func TestTheLatestValueIsHandedOver(t *testing.T) {
	l := newLatest[int]()
	for i := range 10 {
		l.set(i)
	}
	<-l.ready
	if got := l.get(); got != 9 {
		t.Errorf("got %d", got)
	}
}
