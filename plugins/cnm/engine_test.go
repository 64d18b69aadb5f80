package cnm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tuplenet/model"
	"tuplenet/model/store"
)

// listening is an address that accepts connections, and one that does not.
func listening(t *testing.T) (open, closed string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	gone, err := net.Listen("tcp", "127.99.0.1:0") // where nobody else listens, and takes the port
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	return l.Addr().String(), gone.Addr().String()
}

func TestT49_AnEngineWithoutItsClusterStoreDoesNotSayWhichNetworksAreGone(t *testing.T) {
	open, closed := listening(t)
	dir, err := os.MkdirTemp("", "cnm") // short: the path of a socket has a limit
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	for clusterStore, clustered := range map[string]bool{
		"": true, "etcd://" + open: true, "etcd://" + closed: false, "etcd://" + closed + "," + open + "/docker": true, "consul://" + closed + "/x": false,
	} {
		// What dockerd 20.10 answers, the parts that are read.
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/v1.24/info":
				_ = json.NewEncoder(w).Encode(map[string]string{"ClusterStore": clusterStore})
			case "/v1.24/networks":
				fmt.Fprint(w, `[{"Id":"n1","Driver":"tuplenet"},{"Id":"n2","Driver":"bridge"},{"Id":"n3","Driver":"tuplenet"}]`)
			case "/v1.24/networks/n1":
				fmt.Fprint(w, `{"Id":"n1","Driver":"tuplenet","Containers":{"c":{"EndpointID":"e1"}},"IPAM":{"Config":[{"AuxiliaryAddresses":{"x":"10.0.0.9"}}]}}`)
			default:
				http.NotFound(w, r)
			}
		}))
		if server.Listener, err = net.Listen("unix", filepath.Join(dir, "d"+fmt.Sprint(len(clusterStore), clustered))); err != nil {
			t.Fatal(err)
		}
		server.Start()
		k, err := newEngine(server.Listener.Addr().String()).ask(t.Context())
		server.Close()
		if err != nil || k.clustered != clustered || !k.networks["n1"] || len(k.networks) != 1 || !k.endpoints["e1"] || len(k.reserved) != 1 {
			t.Errorf("with the cluster store %q: %+v, %v", clusterStore, k, err)
		}
	}
	l.Close()
	if _, err := newEngine(l.Addr().String()).ask(t.Context()); err == nil || newEngine(l.Addr().String()).there(t.Context()) {
		t.Errorf("an engine that is away answers: %v", err)
	}
}

func TestT49_WhichNetworksAreGarbage(t *testing.T) {
	port := func(network, endpoint string) *model.LogicalSwitchPort {
		return &model.LogicalSwitchPort{Switch: network, Name: portName(endpoint), Type: model.PortVIF, Tags: []string{tagPlugin, tagNetwork + network, tagEndpoint + endpoint}}
	}
	snap := &store.Snapshot{Objects: map[model.Ref]model.Object{}}
	for _, p := range []*model.LogicalSwitchPort{port("used", "e1"), port("abandoned", "e2")} {
		snap.Objects[p.Ref()] = p
	}
	notes := map[string][]byte{}
	for _, n := range []engineNetwork{
		{ID: "local-gone", Chassis: "here", Maker: "here"}, {ID: "local-known", Chassis: "here", Maker: "here"}, {ID: "local-elsewhere", Chassis: "there", Maker: "there"},
		{ID: "gone", Maker: "here"}, {ID: "known", Maker: "here"}, {ID: "elsewhere", Maker: "there"}, {ID: "used", Maker: "here"}, {ID: "abandoned", Maker: "here"}, {ID: "of-an-earlier-version"},
	} {
		n.Switch = n.ID
		notes[n.ID], _ = json.Marshal(n)
	}
	notes["broken"] = []byte("{")
	for _, clustered := range []bool{true, false} {
		d := &Driver{networks: map[string]*engineNetwork{}}
		found := rubbish{"endpoint e2": func(context.Context) error { return nil }}
		d.searchNetworks(found, notes, snap, &known{networks: map[string]bool{"known": true, "local-known": true}, clustered: clustered}, "here")
		var got []string
		for what := range found {
			got = append(got, what)
		}
		slices.Sort(got)
		want := "endpoint e2, network abandoned, network gone, network local-gone"
		if !clustered {
			want = "endpoint e2, network local-gone"
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("garbage, if the engine has its cluster store: %v: %s, want %s", clustered, text, want)
		}
		if len(d.networks) != 2 || d.networks["known"] == nil {
			t.Errorf("remembered are %v", d.networks)
		}
	}
}

func TestT50_ACallThatRanOutOfTimeMayHaveBeenCarriedOut(t *testing.T) {
	if err := fmt.Errorf("add port: %w", late(work)); !errors.Is(err, context.DeadlineExceeded) || err.Error() != "add port: not done within 4s" {
		t.Errorf("%v", err)
	}
}
