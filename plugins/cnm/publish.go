package cnm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	"github.com/docker/go-plugins-helpers/network"
)

// keyPorts are the published ports in the options of a request (libnetwork's package netlabel).
const keyPorts = "com.docker.network.portmap"

// doorNotes is the folder of the notes of published ports: the engine says them once, and a plugin that was restarted opens them again.
const doorNotes = "cnm-publish"

// published is the note.
type published struct {
	Chassis   string        `json:"chassis"`
	Namespace string        `json:"namespace"`
	Addresses []netip.Addr  `json:"addresses"`
	Ports     []publication `json:"ports"`
}

// publish opens the published ports of an endpoint.
func (d *Driver) publish(ctx context.Context, req *network.ProgramExternalConnectivityRequest) error {
	text, err := json.Marshal(req.Options[keyPorts])
	if err != nil {
		return err
	}
	p := published{}
	if err := json.Unmarshal(text, &p.Ports); err != nil {
		return fmt.Errorf("%s: %w", keyPorts, err)
	}
	if len(p.Ports) == 0 {
		return nil
	}
	_, chassis, err := d.ready(ctx)
	if err != nil {
		return err
	}
	ref, err := d.store.PortNamed(ctx, portName(req.EndpointID))
	if err != nil {
		return err
	}
	port, err := d.store.SwitchPort(ctx, ref.Parent, ref.Name)
	if err != nil {
		return err
	}
	d.mu.Lock()
	p.Chassis, p.Addresses, p.Namespace = chassis, port.IPs, d.sandboxes[req.EndpointID]
	d.mu.Unlock()
	return d.noteAndOpen(ctx, req.EndpointID, p)
}

// noteAndOpen opens the door of an endpoint, for now and for the next run.
func (d *Driver) noteAndOpen(ctx context.Context, endpoint string, p published) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	d.debts.cancel(ctx, "ports of "+endpoint)
	err = d.store.PutNote(ctx, doorNotes, endpoint, text)
	if err == nil {
		err = d.open(endpoint, p)
	}
	if err != nil { // the note may have been written also if the store did not say so
		d.undo(ctx, "ports of "+endpoint, func(ctx context.Context) error { return d.store.DeleteNote(ctx, doorNotes, endpoint) })
	}
	return err
}

// open opens the door of an endpoint.
func (d *Driver) open(endpoint string, p published) error {
	if p.Namespace == "" {
		return errors.New("the ports cannot be published: the container's namespace is not known any more")
	}
	made, err := openDoor(d.log.With("endpoint", endpoint), p.Namespace, p.Addresses, p.Ports)
	if err != nil {
		return err
	}
	d.mu.Lock()
	old := d.doors[endpoint]
	d.doors[endpoint] = made
	d.mu.Unlock()
	if old != nil {
		old.close()
	}
	d.log.Info("published", "endpoint", endpoint, "ports", p.Ports)
	return nil
}

// revoke closes the published ports of an endpoint, if it has any. A closed door is remembered until its note is gone, too.
func (d *Driver) revoke(ctx context.Context, endpoint string) error {
	d.mu.Lock()
	door := d.doors[endpoint]
	d.mu.Unlock()
	if door == nil {
		return nil
	}
	door.close()
	if err := d.store.DeleteNote(ctx, doorNotes, endpoint); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.doors[endpoint] == door {
		delete(d.doors, endpoint)
	}
	return nil
}

// reopen opens the ports that an earlier run of this host has published. What has no container any more is forgotten.
func (d *Driver) reopen(ctx context.Context) error {
	_, chassis, err := d.ready(ctx)
	if err != nil {
		return err
	}
	notes, err := d.store.Notes(ctx, doorNotes)
	if err != nil {
		return err
	}
	var failed []error
	for endpoint, text := range notes {
		var p published
		if json.Unmarshal(text, &p) != nil || p.Chassis != chassis {
			continue
		}
		if _, plugged := d.host.Find(portName(endpoint)); !plugged {
			failed = append(failed, d.store.DeleteNote(ctx, doorNotes, endpoint))
			continue
		}
		d.mu.Lock()
		d.sandboxes[endpoint] = p.Namespace
		isOpen := d.doors[endpoint] != nil
		d.mu.Unlock()
		if isOpen {
			continue
		}
		failed = append(failed, d.open(endpoint, p))
		if _, plugged := d.host.Find(portName(endpoint)); !plugged { // it left meanwhile, and there was no door to close yet
			failed = append(failed, d.revoke(ctx, endpoint))
		}
	}
	return errors.Join(failed...)
}

// closeDoors closes all published ports; their notes stay for the next run.
func (d *Driver) closeDoors() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, door := range d.doors {
		door.close()
	}
}
