package admin

import (
	"net/http"
	"net/http/pprof"
)

// WithProfiles adds the profiles of this process to what a handler serves, under /debug/pprof/ as package net/http/pprof serves them:
// where processor time goes and what holds memory. They show names of what the node knows and cost while they are taken, so they are for
// the socket of the daemon's own user only.
func WithProfiles(h http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", h)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
