package admin

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestProfilesAreServedWhereTheyAreAskedForOnly(t *testing.T) {
	plain := New("hv1", slog.New(slog.DiscardHandler)).Handler(Probes{Alive: func() error { return nil }, Ready: func() error { return nil }})
	for _, c := range []struct {
		name string
		h    http.Handler
		path string
		code int
	}{
		{"with", WithProfiles(plain), "/debug/pprof/heap", http.StatusOK},
		{"with, other paths", WithProfiles(plain), "/healthz", http.StatusOK},
		{"without", plain, "/debug/pprof/heap", http.StatusNotFound},
	} {
		s := httptest.NewServer(c.h)
		answer, err := s.Client().Get(s.URL + c.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		s.Close()
		if err != nil || answer.StatusCode != c.code || len(body) == 0 {
			t.Errorf("%s: %s: code %d, %d bytes, %v; want %d", c.name, c.path, answer.StatusCode, len(body), err, c.code)
		}
	}
}
