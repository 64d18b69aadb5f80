package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tuplenet/model"
)

// node is a live chassis that answers by handle.
func node(t *testing.T, s *Store, chassis string, handle func(context.Context, model.NodeRequest) model.NodeAnswer) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := s.HoldIdentity(ctx, Identity{Chassis: chassis, Hostname: chassis, MachineID: chassis}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.FollowAsks(ctx, chassis, handle) }()
	t.Cleanup(func() { cancel(); <-done })
}

func body(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func TestA_node_is_asked_and_nothing_stays_in_the_store(t *testing.T) {
	s := newStore(t)
	node(t, s.another(t), "hv1", func(_ context.Context, r model.NodeRequest) model.NodeAnswer {
		if r.Command == "broken" {
			return model.NodeAnswer{Error: "unknown command"}
		}
		return model.NodeAnswer{Body: body(r.Command + r.Args["a"] + r.Chassis)}
	})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			got, err := s.Ask(within(t, time.Minute), "hv1", model.NodeRequest{Command: "c", Args: map[string]string{"a": fmt.Sprint(i)}})
			if want := fmt.Sprintf(`"c%dhv1"`, i); err != nil || got.Chassis != "hv1" || string(got.Body) != want {
				t.Errorf("%v %+v, want %s", err, got, want)
			}
		})
	}
	wg.Wait()
	if got, err := s.Ask(within(t, time.Minute), "hv1", model.NodeRequest{Command: "broken"}); err != nil || got.Error != "unknown command" || got.Body != nil {
		t.Fatalf("%v %+v", err, got)
	}
	waitFor(t, "an empty store", func() bool {
		return len(keysOf(t, s)) == 2 // the signs of life
	})
}

func TestLarge_answers_come_in_parts(t *testing.T) {
	s := newStore(t)
	// not compressible: twice the size of a part
	var text strings.Builder
	for n := uint64(1); text.Len() < 5<<20; n = n*6364136223846793005 + 1442695040888963407 {
		fmt.Fprintf(&text, "%016x", n)
	}
	want := body(text.String())
	node(t, s.another(t), "hv1", func(context.Context, model.NodeRequest) model.NodeAnswer { return model.NodeAnswer{Body: want} })
	got, err := s.Ask(within(t, time.Minute), "hv1", model.NodeRequest{})
	if err != nil || string(got.Body) != string(want) {
		t.Fatalf("%v, %d bytes, want %d", err, len(got.Body), len(want))
	}
}

func TestAn_answer_that_the_store_should_not_carry_is_an_error(t *testing.T) {
	_, err := splitAnswer(model.NodeAnswer{Body: body(strings.Repeat("answer", 1000))}, 10)
	if err == nil || !strings.Contains(err.Error(), "ask on the node itself") {
		t.Fatal(err)
	}
}

func TestAsking_who_cannot_answer_says_why(t *testing.T) {
	s := newStore(t)
	if _, err := s.Ask(within(t, time.Minute), "nobody", model.NodeRequest{}); !errors.Is(err, ErrNotFound) || err.Error() != "chassis nobody not found" {
		t.Fatal(err)
	}
	if _, err := s.PutChassis(t.Context(), &model.Chassis{Name: "dead", IPs: addrs("10.0.0.1"), Encaps: []model.Encap{model.EncapGeneve}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ask(within(t, time.Minute), "dead", model.NodeRequest{}); !errors.Is(err, ErrNotLive) || err.Error() != "chassis dead is unreachable (not seen for long)" {
		t.Fatal(err)
	}
	limit, ended := deadline{t.Context(), make(chan struct{})}, make(chan struct{})
	node(t, s.another(t), "hung", func(ctx context.Context, _ model.NodeRequest) model.NodeAnswer {
		close(limit.over) // the question has come, so it is the node that is late, and not the store
		<-ctx.Done()
		close(ended)
		return model.NodeAnswer{}
	})
	_, err := s.Ask(limit, "hung", model.NodeRequest{})
	if !errors.Is(err, ErrNotLive) || !strings.HasPrefix(err.Error(), "chassis hung is unreachable (last seen ") {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("the node goes on working for nobody")
	}
}

// deadline is a context whose time is over when a test says so.
type deadline struct {
	context.Context
	over chan struct{}
}

func (d deadline) Done() <-chan struct{} { return d.over }

func (d deadline) Err() error {
	select {
	case <-d.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// What the store says of a question may be lost, and the node may answer before it is written again.
func TestAnAnswerThatCameBeforeTheQuestionWasWrittenAgainIsGiven(t *testing.T) {
	s := newStore(t)
	node(t, s.another(t), "ch", func(context.Context, model.NodeRequest) model.NodeAnswer {
		return model.NodeAnswer{Body: []byte(`"yes"`)}
	})
	lease, err := s.grant(t.Context(), askTTL)
	if err != nil {
		t.Fatal(err)
	}
	id := newAskID()
	if _, err := s.question(t.Context(), "ch", id, "{}", lease); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the answer", func() bool {
		resp, err := raw(t, s).Get(t.Context(), s.keys.answers(id)+answerEnd)
		return err == nil && resp.Count == 1
	})
	rev, err := s.question(t.Context(), "ch", id, "{}", lease)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := s.awaitAnswer(within(t, 10*time.Second), lease, s.keys.answers(id), rev); err != nil || string(a.Body) != `"yes"` {
		t.Errorf("%s %s %v", a.Body, a.Error, err)
	}
}

func TestQuestions_that_came_while_the_node_was_away_are_answered(t *testing.T) {
	s := newStore(t)
	other := s.another(t)
	if _, err := other.HoldIdentity(t.Context(), Identity{Chassis: "hv1", Hostname: "hv1", MachineID: "hv1"}); err != nil {
		t.Fatal(err)
	}
	got := make(chan model.NodeAnswer, 1)
	go func() {
		a, err := s.Ask(within(t, time.Minute), "hv1", model.NodeRequest{Command: "x"})
		if err != nil {
			t.Error(err)
		}
		got <- a
	}()
	waitFor(t, "question in the store", func() bool {
		return slices.ContainsFunc(keysOf(t, s), func(k string) bool { return strings.HasPrefix(k, "ask/hv1/") })
	})
	node(t, other, "hv1", func(_ context.Context, r model.NodeRequest) model.NodeAnswer {
		return model.NodeAnswer{Body: body(r.Command)}
	})
	if a := <-got; string(a.Body) != `"x"` {
		t.Fatalf("%+v", a)
	}
}
