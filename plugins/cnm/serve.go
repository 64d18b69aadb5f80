package cnm

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/docker/go-plugins-helpers/ipam"
	"github.com/docker/go-plugins-helpers/network"
	"github.com/docker/go-plugins-helpers/sdk"
)

// maxRequest is the longest request that is read, in bytes.
const maxRequest = 1 << 20

// Handler speaks the engine's plugin protocol (https://docs.docker.com/engine/extend/plugin_api/): JSON by POST. Both drivers
// are behind one socket, which the library's own handlers cannot do, nor do they limit a call; the types are the library's.
func (d *Driver) Handler() http.Handler {
	mux := http.NewServeMux()
	reply(d, mux, "/Plugin.Activate", func(context.Context, *struct{}) (any, error) {
		return map[string][]string{"Implements": {"NetworkDriver", "IpamDriver"}}, nil
	})
	d.networkCalls(mux)
	d.endpointCalls(mux)
	d.addressCalls(mux)
	return mux
}

// late is the end of a call's time, in words for people.
type late time.Duration

func (l late) Error() string { return fmt.Sprintf("not done within %v", time.Duration(l)) }

// Is tells that it is a context.DeadlineExceeded: what was under way may have been carried out all the same.
func (late) Is(target error) bool { return target == context.DeadlineExceeded }

// done answers a call that has nothing to tell.
type done struct{}

func (d *Driver) networkCalls(mux *http.ServeMux) {
	const driver = "/NetworkDriver."
	reply(d, mux, driver+"GetCapabilities", func(context.Context, *struct{}) (*network.CapabilitiesResponse, error) {
		return &network.CapabilitiesResponse{Scope: d.cfg.Scope, ConnectivityScope: network.GlobalScope}, nil
	})
	reply(d, mux, driver+"CreateNetwork", func(ctx context.Context, r *network.CreateNetworkRequest) (done, error) {
		return done{}, d.createNetwork(ctx, r)
	})
	reply(d, mux, driver+"DeleteNetwork", func(ctx context.Context, r *network.DeleteNetworkRequest) (done, error) {
		return done{}, d.remove(ctx, "network "+r.NetworkID, func(ctx context.Context) error { return d.deleteNetwork(ctx, r.NetworkID, false) })
	})
	// The manager of a swarm allocates a network, before its nodes create it; afterwards it frees it.
	reply(d, mux, driver+"AllocateNetwork", func(context.Context, *network.AllocateNetworkRequest) (*network.AllocateNetworkResponse, error) {
		return &network.AllocateNetworkResponse{Options: map[string]string{}}, nil
	})
	reply(d, mux, driver+"FreeNetwork", func(ctx context.Context, r *network.FreeNetworkRequest) (done, error) {
		return done{}, d.remove(ctx, "network "+r.NetworkID, func(ctx context.Context) error { return d.deleteNetwork(ctx, r.NetworkID, true) })
	})
	for _, call := range []string{"DiscoverNew", "DiscoverDelete"} { // nodes know each other from the store
		reply(d, mux, driver+call, func(context.Context, *network.DiscoveryNotification) (done, error) { return done{}, nil })
	}
}

func (d *Driver) endpointCalls(mux *http.ServeMux) {
	const driver = "/NetworkDriver."
	reply(d, mux, driver+"CreateEndpoint", d.createEndpoint)
	reply(d, mux, driver+"DeleteEndpoint", func(ctx context.Context, r *network.DeleteEndpointRequest) (done, error) {
		d.debts.forget("interface " + r.EndpointID)
		return done{}, d.remove(ctx, "endpoint "+r.EndpointID, func(ctx context.Context) error { return d.dropEndpoint(ctx, r.EndpointID) })
	})
	reply(d, mux, driver+"EndpointOperInfo", d.endpointInfo)
	reply(d, mux, driver+"Join", d.join)
	reply(d, mux, driver+"Leave", func(ctx context.Context, r *network.LeaveRequest) (done, error) {
		return done{}, d.remove(ctx, "interface "+r.EndpointID, func(ctx context.Context) error { return d.leave(ctx, r.EndpointID) })
	})
	reply(d, mux, driver+"ProgramExternalConnectivity", func(ctx context.Context, r *network.ProgramExternalConnectivityRequest) (done, error) {
		return done{}, d.publish(ctx, r)
	})
	reply(d, mux, driver+"RevokeExternalConnectivity", func(ctx context.Context, r *network.RevokeExternalConnectivityRequest) (done, error) {
		return done{}, d.remove(ctx, "ports of "+r.EndpointID, func(ctx context.Context) error { return d.revoke(ctx, r.EndpointID) })
	})
}

func (d *Driver) addressCalls(mux *http.ServeMux) {
	const driver = "/IpamDriver."
	reply(d, mux, driver+"GetCapabilities", func(context.Context, *struct{}) (*ipam.CapabilitiesResponse, error) {
		return &ipam.CapabilitiesResponse{}, nil
	})
	reply(d, mux, driver+"GetDefaultAddressSpaces", func(context.Context, *struct{}) (*ipam.AddressSpacesResponse, error) {
		return addressSpaces(), nil
	})
	reply(d, mux, driver+"RequestPool", d.requestPool)
	reply(d, mux, driver+"ReleasePool", func(context.Context, *ipam.ReleasePoolRequest) (done, error) { return done{}, nil })
	reply(d, mux, driver+"RequestAddress", d.requestAddress)
	reply(d, mux, driver+"ReleaseAddress", func(ctx context.Context, r *ipam.ReleaseAddressRequest) (done, error) {
		return done{}, d.remove(ctx, "address "+r.PoolID+" "+r.Address, func(ctx context.Context) error { return d.releaseAddress(ctx, r) })
	})
}

// emptyRequest answers a request without content. An engine (up to 20.10 at least) reads a request's content once: when it has to
// repeat one that broke off, as when the plugin is killed in the middle, it sends nothing.
const emptyRequest = "tuplenet: the request broke off, and was repeated without its content: try the command again"

// reply answers the calls of one path. A call is not given up when the engine hangs up: what it began is finished or undone, or nobody
// would know of it.
func reply[Request, Response any](d *Driver, mux *http.ServeMux, path string, call func(context.Context, *Request) (Response, error)) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		req := new(Request)
		switch _, nothing := any(req).(*struct{}); {
		case r.ContentLength != 0:
			r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
			if sdk.DecodeRequest(w, r, req) != nil {
				return
			}
		case !nothing:
			d.log.Warn("empty request", "call", path)
			d.doubt()
			sdk.EncodeResponse(w, network.NewErrorResponse(emptyRequest), true)
			return
		}
		ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(r.Context()), work, late(work))
		defer cancel()
		begin := time.Now()
		resp, err := call(ctx, req)
		if err != nil {
			d.log.Warn("call failed", "call", path, "err", err, "took", time.Since(begin).Round(time.Millisecond))
			sdk.EncodeResponse(w, network.NewErrorResponse("tuplenet: "+err.Error()), true)
			return
		}
		d.log.Debug("call", "call", path, "took", time.Since(begin).Round(time.Millisecond))
		sdk.EncodeResponse(w, resp, false)
	})
}
