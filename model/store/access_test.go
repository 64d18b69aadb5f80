package store

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tuplenet/model"
)

func TestAn_unreachable_store_is_told_in_one_line_within_the_time_limit(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, but never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	closed, err := net.Listen("tcp", net.JoinHostPort(ownAddress(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, where := range []string{l.Addr().String(), closed.Addr().String()} {
		for _, user := range []string{"", "root"} {
			s := openAt(t, Config{Endpoints: []string{where}, DialTimeout: 100 * time.Millisecond, User: user, Password: user})
			start := time.Now()
			_, _, err := s.AddSwitch(t.Context(), &model.LogicalSwitch{Name: "LS"})
			refused(t, err, ErrUnreachable, "store unreachable at "+where)
			if time.Since(start) > 5*time.Second {
				t.Errorf("it took %s", time.Since(start))
			}
			_, err = s.Snapshot(t.Context())
			refused(t, err, ErrUnreachable, "store unreachable at "+where)
		}
	}
}

func TestOpen_refuses_what_cannot_work_before_contacting_the_store(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.pem")
	for name, cfg := range map[string]Config{
		"no endpoints":         {},
		"user alone":           {Endpoints: []string{"x:1"}, User: "u"},
		"certificate alone":    {Endpoints: []string{"x:1"}, Cert: missing},
		"missing authority":    {Endpoints: []string{"x:1"}, CACert: missing},
		"missing certificates": {Endpoints: []string{"x:1"}, Cert: missing, Key: missing},
	} {
		if _, err := Open(cfg); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
