// Package admin answers questions about a node: it keeps the registry of commands and serves it on the daemon's unix socket,
// through the store, and, if that is asked for, on a port with mutual TLS; beside them the probes for supervisors and the
// metrics page. It knows no command itself: package controller registers what the node can tell, tpctl and other programs ask.
// It may not know flows, the switch or etcd.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"

	"tuplenet/model"
)

// Handler answers a command. What it returns is written as JSON. It is called from several goroutines; its context ends when
// nobody waits for the answer any more.
type Handler func(ctx context.Context, args map[string]string) (any, error)

// Registry holds the commands of one node. Register them all before anything is served.
type Registry struct {
	chassis  string
	log      *slog.Logger
	handlers map[string]Handler
}

// New makes a registry of a chassis.
func New(chassis string, log *slog.Logger) *Registry {
	return &Registry{chassis: chassis, log: log.With("component", "admin"), handlers: map[string]Handler{}}
}

// Handle registers a command. Registering one twice is a programming error.
func (r *Registry) Handle(command string, h Handler) {
	if _, twice := r.handlers[command]; twice {
		panic("admin: command " + command + " is registered twice")
	}
	r.handlers[command] = h
}

// Commands are the names of all commands, sorted.
func (r *Registry) Commands() []string { return slices.Sorted(maps.Keys(r.handlers)) }

// Refusals that an HTTP client sees as a status of its own.
var (
	errUnknown  = errors.New("unknown command")
	errMistaken = errors.New("this is another chassis")
)

// Answer does what a request asks.
func (r *Registry) Answer(ctx context.Context, req model.NodeRequest) model.NodeAnswer {
	body, err := r.answer(ctx, req)
	a := model.NodeAnswer{Chassis: r.chassis, Body: body}
	if err != nil {
		a.Error = err.Error()
	}
	return a
}

func (r *Registry) answer(ctx context.Context, req model.NodeRequest) (body json.RawMessage, err error) {
	if req.Chassis != "" && req.Chassis != r.chassis {
		return nil, fmt.Errorf("%w: %s, not %s", errMistaken, r.chassis, req.Chassis)
	}
	h := r.handlers[req.Command]
	if h == nil {
		return nil, fmt.Errorf("%w %q, this node knows: %s", errUnknown, req.Command, strings.Join(r.Commands(), ", "))
	}
	defer func() { // a question must not end the daemon
		if p := recover(); p != nil {
			r.log.Error("a command failed by a defect", "command", req.Command, "panic", p, "stack", string(debug.Stack()))
			body, err = nil, fmt.Errorf("%s failed by a defect of the daemon, see its log", req.Command)
		}
	}()
	v, err := h(ctx, req.Args)
	if err != nil {
		return nil, err
	}
	if body, err = json.Marshal(v); err != nil {
		return nil, fmt.Errorf("%s: write the answer as JSON: %w", req.Command, err)
	}
	return body, nil
}

// maxRequest bounds the body of a request.
const maxRequest = 1 << 20

// serveCommand is POST /v1/{command}.
func (r *Registry) serveCommand(w http.ResponseWriter, hr *http.Request) {
	var req model.NodeRequest
	err := json.NewDecoder(http.MaxBytesReader(w, hr.Body, maxRequest)).Decode(&req)
	if err != nil && hr.ContentLength != 0 {
		writeAnswer(w, http.StatusBadRequest, model.NodeAnswer{Chassis: r.chassis, Error: "the request cannot be read: " + err.Error()})
		return
	}
	req.Command = hr.PathValue("command")
	body, err := r.answer(hr.Context(), req)
	a := model.NodeAnswer{Chassis: r.chassis, Body: body}
	status := http.StatusOK
	switch {
	case errors.Is(err, errUnknown):
		status = http.StatusNotFound
	case errors.Is(err, errMistaken):
		status = http.StatusMisdirectedRequest
	case err != nil:
		status = http.StatusUnprocessableEntity
	}
	if err != nil {
		a.Error = err.Error()
	}
	writeAnswer(w, status, a)
}

func writeAnswer(w http.ResponseWriter, status int, a model.NodeAnswer) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(a) // the client is gone if that fails
}
