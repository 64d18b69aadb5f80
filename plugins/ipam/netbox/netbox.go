// Package netbox is a driver of pools for NetBox (https://netbox.dev), and an example of one: it answers one request of
// plugins/ipam through NetBox's REST API. A pool's prefixes have to be prefixes in NetBox; subnets are made below them, with
// a description that names the owner. cmd/tpipam-netbox is its process; it knows neither the store nor tpctl.
package netbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"tuplenet/plugins/ipam"
)

// Config says where NetBox is.
type Config struct {
	// URL of NetBox, without /api; Token of a user who may view, add and delete prefixes.
	URL, Token string
	// Client makes the requests; nil: http.DefaultClient. Its time is bounded by the context.
	Client *http.Client
}

// mark begins the description of a prefix that is ours; the owner follows.
const mark = "tuplenet "

// maxReply bounds what is read of a reply, bytes.
const maxReply = 1 << 20

// Serve reads one request from in and writes the answer to out. The error is for stderr, one line.
func Serve(ctx context.Context, cfg Config, in io.Reader, out io.Writer) error {
	var r ipam.Request
	if err := json.NewDecoder(in).Decode(&r); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	if r.Version != ipam.Version {
		return fmt.Errorf("the request has version %d of the protocol, this driver understands %d", r.Version, ipam.Version)
	}
	if cfg.URL == "" || cfg.Token == "" {
		return errors.New("NETBOX_URL and NETBOX_TOKEN are not set")
	}
	c := client{cfg}
	var a ipam.Answer
	var err error
	switch r.Operation {
	case ipam.Allocate:
		a.Subnet, err = c.allocate(ctx, r)
	case ipam.Release:
		err = c.release(ctx, r)
	default:
		err = fmt.Errorf("operation %q is unknown", r.Operation)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(a)
}

type client struct{ cfg Config }

// prefix is a prefix in NetBox, as far as it matters.
type prefix struct {
	ID          int64        `json:"id"`
	Prefix      netip.Prefix `json:"prefix"`
	Description string       `json:"description"`
}

// allocate takes a prefix: the one that the owner has, the one that is asked for, or the next of any of the pool's.
func (c client) allocate(ctx context.Context, r ipam.Request) (netip.Prefix, error) {
	description := mark + r.Owner
	for _, within := range r.Prefixes {
		have, err := c.list(ctx, url.Values{"within_include": {within.String()}, "description": {description}})
		if err != nil {
			return netip.Prefix{}, err
		}
		for _, p := range have {
			if p.Description == description && (p.Prefix == r.Subnet || !r.Subnet.IsValid() && p.Prefix.Bits() == r.Length) {
				return p.Prefix, nil
			}
		}
	}
	if r.Subnet.IsValid() {
		return c.reserve(ctx, r.Subnet, description)
	}
	last := errors.New("the pool has no prefixes")
	for _, within := range r.Prefixes {
		parent, err := c.one(ctx, within)
		if err != nil {
			return netip.Prefix{}, err
		}
		var made prefix
		last = c.do(ctx, http.MethodPost, fmt.Sprintf("/api/ipam/prefixes/%d/available-prefixes/", parent.ID),
			map[string]any{"prefix_length": r.Length, "description": description, "status": "active"}, &made)
		if last == nil {
			return made.Prefix, nil
		}
		var refused *refusal
		if !errors.As(last, &refused) || refused.code != http.StatusConflict { // only "full" lets the next one be tried
			break
		}
	}
	return netip.Prefix{}, last
}

// reserve makes exactly one prefix, which nobody may have.
func (c client) reserve(ctx context.Context, p netip.Prefix, description string) (netip.Prefix, error) {
	have, err := c.list(ctx, url.Values{"prefix": {p.String()}})
	if err != nil {
		return p, err
	}
	if len(have) > 0 {
		return p, fmt.Errorf("NetBox has %s already: %q", p, have[0].Description)
	}
	var made prefix
	err = c.do(ctx, http.MethodPost, "/api/ipam/prefixes/", map[string]any{"prefix": p, "description": description, "status": "active"}, &made)
	return made.Prefix, err
}

// release deletes a prefix if it is one of ours, and of the owner if one is named. What is not there is released.
func (c client) release(ctx context.Context, r ipam.Request) error {
	have, err := c.list(ctx, url.Values{"prefix": {r.Subnet.String()}})
	if err != nil {
		return err
	}
	for _, p := range have {
		if p.Prefix != r.Subnet || !strings.HasPrefix(p.Description, mark) || r.Owner != "" && p.Description != mark+r.Owner {
			continue // somebody else's
		}
		err := c.do(ctx, http.MethodDelete, fmt.Sprintf("/api/ipam/prefixes/%d/", p.ID), nil, nil)
		var refused *refusal
		if err != nil && (!errors.As(err, &refused) || refused.code != http.StatusNotFound) {
			return err
		}
	}
	return nil
}

// one finds a prefix that has to be there once.
func (c client) one(ctx context.Context, p netip.Prefix) (prefix, error) {
	have, err := c.list(ctx, url.Values{"prefix": {p.String()}})
	switch {
	case err != nil:
		return prefix{}, err
	case len(have) == 0:
		return prefix{}, fmt.Errorf("NetBox has no prefix %s: add it there", p)
	case len(have) > 1:
		return prefix{}, fmt.Errorf("NetBox has %s %d times: it must be there once", p, len(have))
	}
	return have[0], nil
}

// list finds prefixes, page by page.
func (c client) list(ctx context.Context, query url.Values) (out []prefix, err error) {
	for more := true; more; {
		query.Set("limit", "100")
		query.Set("offset", fmt.Sprint(len(out)))
		var page struct {
			Next    *string  `json:"next"`
			Results []prefix `json:"results"`
		}
		if err := c.do(ctx, http.MethodGet, "/api/ipam/prefixes/?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		out = append(out, page.Results...)
		more = page.Next != nil && len(page.Results) > 0
	}
	return out, nil
}

// refusal is what NetBox says with a code that is not one of success.
type refusal struct {
	code int
	text string
}

func (e *refusal) Error() string { return fmt.Sprintf("NetBox: %d: %s", e.code, e.text) }

// do makes a request and reads the reply into out, unless that is nil.
func (c client) do(ctx context.Context, method, path string, body, out any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.cfg.URL, "/")+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Token "+c.cfg.Token)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	h := c.cfg.Client
	if h == nil {
		h = http.DefaultClient
	}
	resp, err := h.Do(req)
	if err != nil {
		return fmt.Errorf("ask NetBox: %w", err)
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return fmt.Errorf("read the reply of NetBox: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return &refusal{resp.StatusCode, detail(reply)}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(reply, out); err != nil {
		return fmt.Errorf("read the reply of NetBox: %w", err)
	}
	return nil
}

// detail is the reason in a reply, one line.
func detail(reply []byte) string {
	var d struct{ Detail string }
	if json.Unmarshal(reply, &d) == nil && d.Detail != "" {
		return strings.Join(strings.Fields(d.Detail), " ")
	}
	text := strings.Join(strings.Fields(string(reply)), " ")
	return text[:min(len(text), 200)]
}
