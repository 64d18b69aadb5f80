package controller

import (
	"context"
	"maps"
	"slices"
	"time"

	"tuplenet/datapath/host"
	"tuplenet/model"
	"tuplenet/model/store"
)

// inspect looks at the host for what commonly goes wrong there; `tpctl check` judges it.
func (a answers) inspect(ctx context.Context, args map[string]string) (any, error) {
	if err := allowed(args); err != nil {
		return nil, err
	}
	out := model.NodeInspection{ClockMS: time.Now().UnixMilli(), Interfaces: []model.NodeInterface{}}
	err := a.l.inLoop(ctx, func() {
		out.UnderlayMTU, out.TunnelMTU = a.l.mtu, a.l.tunnelMTU()
		if a.l.untunnel.on && a.l.untunnel.up != "" {
			for _, path := range a.l.untunnel.sysctls.Drifted(forwarding) {
				out.Settings = append(out.Settings, model.NodeSetting{Path: path, Want: forwarding[path]})
			}
		}
	})
	if err != nil {
		return nil, err
	}
	facts := a.l.ovsFacts.get()
	if b := facts.Bridges[a.l.cfg.Bridge]; b != nil {
		out.Datapath = b.DatapathType
	}
	for _, name := range slices.Sorted(maps.Keys(facts.Interfaces)) {
		i := facts.Interfaces[name]
		if i.Bridge != a.l.cfg.Bridge || i.IfaceID == "" {
			continue
		}
		n := model.NodeInterface{Name: name, LSP: i.IfaceID, MTU: i.MTU, Error: i.Error}
		if i.Type == "" { // a device of the host; a veth of a namespace that is not found is as good as no veth
			if p, err := host.PeerOf(name); err == nil {
				n.Peer, n.PeerMTU, n.TxOffload = p.Name, p.MTU, p.TxOffload
			}
		}
		out.Interfaces = append(out.Interfaces, n)
	}
	for _, file := range []string{a.l.cfg.CACert, a.l.cfg.Cert} {
		if file != "" {
			out.Certificates = append(out.Certificates, certificate(file))
		}
	}
	return out, nil
}

func certificate(file string) model.NodeCertificate {
	c := model.NodeCertificate{File: file}
	ends, err := store.CertificateExpiry(file)
	if err != nil {
		c.Error = err.Error()
	} else {
		c.ExpiresMS = ends.UnixMilli()
	}
	return c
}
