package netbox

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"tuplenet/model"
	"tuplenet/model/alloc"
	"tuplenet/plugins/ipam"
)

// TestMain is two programs: the tests, and, under the name of a driver, what cmd/tpipam-netbox is.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "netbox" {
		if err := Serve(context.Background(), Config{URL: os.Getenv("NETBOX_URL"), Token: os.Getenv("NETBOX_TOKEN")}, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fake is as much of NetBox's REST API (ipam/prefixes of version 4) as the driver uses.
type fake struct {
	t        *testing.T
	mu       sync.Mutex
	prefixes map[int64]prefix
	last     int64
	down     bool
}

func (f *fake) add(cidr, description string) {
	f.last++
	f.prefixes[f.last] = prefix{f.last, netip.MustParsePrefix(cidr), description}
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	part := strings.Split(strings.Trim(r.URL.Path, "/"), "/") // api ipam prefixes [id [available-prefixes]]
	switch {
	case f.down:
		http.Error(w, "<html>\nbad gateway", http.StatusBadGateway)
	case r.Header.Get("Authorization") != "Token secret":
		f.reply(w, http.StatusForbidden, map[string]string{"detail": "Invalid token"})
	case r.Method == http.MethodGet && len(part) == 3:
		f.list(w, r)
	case r.Method == http.MethodPost && len(part) == 3:
		var p prefix
		if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
			f.t.Error(err)
		}
		f.add(p.Prefix.String(), p.Description)
		f.reply(w, http.StatusCreated, f.prefixes[f.last])
	case r.Method == http.MethodPost && len(part) == 5 && part[4] == "available-prefixes":
		f.next(w, r, f.prefixes[id(part[3])])
	case r.Method == http.MethodDelete && len(part) == 4:
		delete(f.prefixes, id(part[3]))
		w.WriteHeader(http.StatusNoContent)
	default:
		f.t.Errorf("%s %s", r.Method, r.URL)
	}
}

func id(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

func (f *fake) reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		f.t.Error(err)
	}
}

// list answers a page of at most two, so that pages are followed.
func (f *fake) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	found := []prefix{}
	for i := int64(1); i <= f.last; i++ {
		p, ok := f.prefixes[i]
		if !ok || q.Has("prefix") && q.Get("prefix") != p.Prefix.String() || q.Has("description") && q.Get("description") != p.Description {
			continue
		}
		if q.Has("within_include") && !netip.MustParsePrefix(q.Get("within_include")).Overlaps(p.Prefix) {
			continue
		}
		found = append(found, p)
	}
	offset, _ := strconv.Atoi(q.Get("offset"))
	page := map[string]any{"count": len(found), "next": nil, "results": found[offset:min(offset+2, len(found))]}
	if offset+2 < len(found) {
		page["next"] = "more"
	}
	f.reply(w, http.StatusOK, page)
}

// next makes the next free prefix below another.
func (f *fake) next(w http.ResponseWriter, r *http.Request, parent prefix) {
	var ask struct {
		PrefixLength int    `json:"prefix_length"`
		Description  string `json:"description"`
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		f.t.Error(err)
	}
	var used []netip.Prefix
	for _, p := range f.prefixes {
		if p.Prefix != parent.Prefix {
			used = append(used, p.Prefix)
		}
	}
	free := alloc.Space{Prefixes: []netip.Prefix{parent.Prefix}, Length: ask.PrefixLength}.NextPrefixes(used, 1)
	if len(free) == 0 {
		f.reply(w, http.StatusConflict, map[string]string{"detail": "Insufficient resources are available to satisfy the request"})
		return
	}
	f.add(free[0].String(), ask.Description)
	f.reply(w, http.StatusCreated, f.prefixes[f.last])
}

// descriptions are what NetBox has, sorted.
func (f *fake) descriptions() (out []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.prefixes {
		out = append(out, p.Prefix.String()+" "+p.Description)
	}
	slices.Sort(out)
	return out
}

// start runs the fake, and the driver as tpctl does.
func start(t *testing.T) (*fake, *ipam.Drivers, *model.Pool) {
	t.Helper()
	f := &fake{t: t, prefixes: map[int64]prefix{}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "netbox")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NETBOX_URL", server.URL+"/")
	t.Setenv("NETBOX_TOKEN", "secret")
	pool := &model.Pool{Name: "corp", Driver: "netbox", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.128.0.0/23"), netip.MustParsePrefix("10.200.0.0/23")}}
	return f, &ipam.Drivers{Dir: dir}, pool
}

func TestU21_NetBox_gives_out_prefixes_and_takes_them_back(t *testing.T) {
	f, d, pool := start(t)
	f.add("10.128.0.0/23", "first")
	f.add("10.128.0.0/24", "somebody else's")
	f.add("10.200.0.0/23", "second")
	var none netip.Prefix
	for _, c := range []struct{ owner, want string }{
		{"switch/a", "10.128.1.0/24"}, {"switch/a", "10.128.1.0/24"}, // asked again: the same
		{"switch/b", "10.200.0.0/24"}, // the first one is full
		{"switch/c", "10.200.1.0/24"},
	} {
		if p, err := d.Allocate(t.Context(), pool, c.owner, 24, none); err != nil || p.String() != c.want {
			t.Fatalf("%s: %s %v", c.owner, p, err)
		}
	}
	_, err := d.Allocate(t.Context(), pool, "switch/d", 24, none)
	if want := "driver netbox: NetBox: 409: Insufficient resources are available to satisfy the request"; err == nil || err.Error() != want {
		t.Fatal(err)
	}
	a := netip.MustParsePrefix("10.128.1.0/24")
	for range 2 { // given back twice: no error
		if err := d.Release(t.Context(), pool, "switch/a", a); err != nil {
			t.Fatal(err)
		}
	}
	for owner, p := range map[string]string{"switch/x": "10.128.0.0/24", "switch/c": "10.200.0.0/24"} { // not theirs
		if err := d.Release(t.Context(), pool, owner, netip.MustParsePrefix(p)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Allocate(t.Context(), pool, "switch/e", 24, netip.MustParsePrefix("10.128.0.0/24")); err == nil || !strings.Contains(err.Error(), `NetBox has 10.128.0.0/24 already: "somebody else's"`) {
		t.Fatal(err)
	}
	for range 2 {
		if p, err := d.Allocate(t.Context(), pool, "switch/e", 24, a); err != nil || p != a {
			t.Fatal(p, err)
		}
	}
	want := []string{"10.128.0.0/23 first", "10.128.0.0/24 somebody else's", "10.128.1.0/24 tuplenet switch/e", "10.200.0.0/23 second",
		"10.200.0.0/24 tuplenet switch/b", "10.200.1.0/24 tuplenet switch/c"}
	if got := f.descriptions(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestU21_what_NetBox_refuses_is_one_line(t *testing.T) {
	f, d, pool := start(t)
	ask := func(words string) {
		t.Helper()
		_, err := d.Allocate(t.Context(), pool, "switch/a", 24, netip.Prefix{})
		if err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %q", err, words)
		}
	}
	ask("NetBox has no prefix 10.128.0.0/23: add it there")
	f.add("10.128.0.0/23", "")
	f.add("10.128.0.0/23", "")
	f.add("10.128.0.0/23", "")
	ask("NetBox has 10.128.0.0/23 3 times")
	f.mu.Lock()
	f.down = true
	f.mu.Unlock()
	ask("NetBox: 502: <html> bad gateway")
	f.mu.Lock()
	f.down = false
	f.mu.Unlock()
	t.Setenv("NETBOX_TOKEN", "wrong")
	ask("NetBox: 403: Invalid token")
	t.Setenv("NETBOX_URL", "http://127.0.0.1:1")
	ask("connection refused")
	t.Setenv("NETBOX_URL", "")
	ask("NETBOX_URL and NETBOX_TOKEN are not set")
}
