package cnm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// engine asks dockerd what it knows. It is never used while a call of the engine's is answered: the engine holds locks then.
type engine struct{ client http.Client }

func newEngine(socket string) *engine {
	return &engine{http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}}
}

// known is what the engine knows: networks, endpoints and reserved addresses. Endpoints are those of this host.
type known struct {
	networks, endpoints map[string]bool
	reserved            map[netip.Addr]bool
	// clustered tells that networks of scope global that are not among them do not exist, or will be made again before a
	// container of this host is on them.
	clustered bool
}

// answer is the part of the engine's answers that matters here (Docker Engine API v1.24, /networks).
type answer struct {
	ID         string `json:"Id"`
	Driver     string
	Containers map[string]struct{ EndpointID string }
	IPAM       struct {
		Config []struct {
			AuxiliaryAddresses map[string]string
		}
	}
}

// ask reads all networks that are not the engine's own.
func (e *engine) ask(ctx context.Context) (*known, error) {
	k := &known{networks: map[string]bool{}, endpoints: map[string]bool{}, reserved: map[netip.Addr]bool{}}
	var info struct{ ClusterStore string }
	if err := e.get(ctx, "/v1.24/info", &info); err != nil {
		return nil, err
	}
	// Without its cluster store the engine lists what it has itself, and says nothing. In a swarm it is told of a network
	// before each first container on it.
	k.clustered = info.ClusterStore == "" || answers(ctx, info.ClusterStore)
	var list []answer
	if err := e.get(ctx, "/v1.24/networks", &list); err != nil {
		return nil, err
	}
	for _, n := range list {
		if slices.Contains([]string{"bridge", "host", "null", "overlay", "macvlan", "ipvlan"}, n.Driver) {
			continue
		}
		var whole answer
		switch err := e.get(ctx, "/v1.24/networks/"+url.PathEscape(n.ID), &whole); {
		case errors.Is(err, errGone): // meanwhile
			continue
		case err != nil:
			return nil, err
		}
		k.networks[n.ID] = true
		for _, c := range whole.Containers {
			k.endpoints[c.EndpointID] = true
		}
		for _, c := range whole.IPAM.Config {
			for _, text := range c.AuxiliaryAddresses {
				if a, err := netip.ParseAddr(text); err == nil {
					k.reserved[a] = true
				}
			}
		}
	}
	return k, nil
}

// answers tells whether a cluster store, as the engine is told of it (KIND://HOST:PORT[,HOST:PORT…][/PATH]), accepts connections.
func answers(ctx context.Context, store string) bool {
	_, hosts, _ := strings.Cut(store, "://")
	hosts, _, _ = strings.Cut(hosts, "/")
	for host := range strings.SplitSeq(hosts, ",") {
		dialer := net.Dialer{Timeout: dialing}
		if c, err := dialer.DialContext(ctx, "tcp", host); err == nil {
			_ = c.Close()
			return true
		}
	}
	return false
}

// there tells whether the engine answers.
func (e *engine) there(ctx context.Context) bool {
	var version struct{ Version string }
	return e.get(ctx, "/v1.24/version", &version) == nil
}

// errGone says that the engine does not know something.
var errGone = errors.New("not known to dockerd")

func (e *engine) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path, nil)
	if err != nil {
		return err
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask dockerd: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return errGone
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask dockerd for %s: %s", path, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("ask dockerd for %s: %w", path, err)
	}
	return nil
}
