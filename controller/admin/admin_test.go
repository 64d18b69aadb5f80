package admin

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tuplenet/model"
)

// daemon serves a registry on a socket and returns a client of it.
func daemon(t *testing.T, p Probes) *http.Client {
	t.Helper()
	r := New("hv1", slog.New(slog.DiscardHandler))
	r.Handle("echo", func(_ context.Context, args map[string]string) (any, error) { return args, nil })
	r.Handle("fail", func(context.Context, map[string]string) (any, error) {
		return nil, errors.New("no connection to the switch")
	})
	r.Handle("defect", func(context.Context, map[string]string) (any, error) { panic("oops") })
	dir, err := os.MkdirTemp("", "adm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, model.AdminSocket)
	if err := os.WriteFile(path, nil, 0o666); err != nil { // left by a daemon that died
		t.Fatal(err)
	}
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", st, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- Serve(ctx, l, r.Handler(p)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	return &http.Client{Transport: transport}
}

func post(t *testing.T, c *http.Client, path, text string) (int, model.NodeAnswer) {
	t.Helper()
	resp, err := c.Post("http://node"+path, "application/json", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var a model.NodeAnswer
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, a
}

func TestCommandsAreAnsweredOnTheSocket(t *testing.T) {
	c := daemon(t, Probes{})
	for _, want := range []struct {
		path, request string
		status        int
		body, err     string
	}{
		{"/v1/echo", `{"args":{"a":"b"}}`, 200, `{"a":"b"}`, ""},
		{"/v1/echo", `{"chassis":"hv1","args":{"a":"b"}}`, 200, `{"a":"b"}`, ""},
		{"/v1/echo", "", 200, "null", ""},
		{"/v1/echo", `{"chassis":"hv2"}`, 421, "", "this is another chassis: hv1, not hv2"},
		{"/v1/echo", `{`, 400, "", "the request cannot be read: unexpected EOF"},
		{"/v1/fail", `{}`, 422, "", "no connection to the switch"},
		{"/v1/nothing", `{}`, 404, "", `unknown command "nothing", this node knows: defect, echo, fail`},
		{"/v1/defect", `{}`, 422, "", "defect failed by a defect of the daemon, see its log"},
	} {
		status, a := post(t, c, want.path, want.request)
		if status != want.status || string(a.Body) != want.body || a.Error != want.err || a.Chassis != "hv1" {
			t.Errorf("%s %s: %d %s %+v", want.path, want.request, status, a.Body, a)
		}
	}
}

func TestProbesSayWhy(t *testing.T) {
	var ready atomic.Bool
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "tuplenet_up 1\n") })
	c := daemon(t, Probes{Alive: func() error { return nil }, Ready: func() error {
		if ready.Load() {
			return nil
		}
		return errors.New("waiting for the state of the store")
	}, Metrics: metrics})
	get := func(path string) string {
		resp, err := c.Get("http://node" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.Status[:4] + string(b)
	}
	if got := get("/healthz"); got != "200 ok\n" {
		t.Error(got)
	}
	if got := get("/readyz"); got != "503 waiting for the state of the store\n" {
		t.Error(got)
	}
	if got := get("/metrics"); got != "200 tuplenet_up 1\n" {
		t.Error(got)
	}
	ready.Store(true)
	if got := get("/readyz"); got != "200 ok\n" {
		t.Error(got)
	}
}

func TestTheAPIPortServesOnlyWhoShowsACertificate(t *testing.T) {
	dir := t.TempDir()
	ours, others := newAuthority(t, dir, "ours"), newAuthority(t, dir, "others")
	cert, key := ours.issue(t, dir, "node")
	secure, err := MutualTLS(cert, key, filepath.Join(dir, "ours.pem"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := ListenTLS("127.0.0.1:0", secure)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	r := New("hv1", slog.New(slog.DiscardHandler))
	r.Handle("echo", func(_ context.Context, args map[string]string) (any, error) { return args, nil })
	go func() {
		done <- Serve(ctx, l, r.Handler(Probes{Alive: func() error { return nil }, Ready: func() error { return nil }}))
	}()
	defer func() { cancel(); <-done }()
	ask := func(certificates ...tls.Certificate) error {
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{RootCAs: ours.pool(), Certificates: certificates}}}
		resp, err := c.Post("https://"+l.Addr().String()+"/v1/echo", "application/json", strings.NewReader("{}"))
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	client := func(a *authority) tls.Certificate {
		c, err := tls.LoadX509KeyPair(a.issue(t, dir, "client"))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if err := ask(client(ours)); err != nil {
		t.Error(err)
	}
	if err := ask(); err == nil {
		t.Error("served without a certificate")
	}
	if err := ask(client(others)); err == nil {
		t.Error("served with a certificate of another authority")
	}
	if _, err := MutualTLS(cert, key, filepath.Join(dir, "none.pem")); err == nil {
		t.Error("an authority that is not there is accepted")
	}
}

// authority signs certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, dir, name string) *authority {
	t.Helper()
	a := &authority{}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour)}
	a.cert, a.key = sign(t, template, nil)
	write(t, filepath.Join(dir, name+".pem"), "CERTIFICATE", a.cert.Raw)
	return a
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// issue makes a certificate and its key in files.
func (a *authority) issue(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	c, k := sign(t, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotAfter: time.Now().Add(time.Hour)}, a)
	b, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+"-cert.pem"), filepath.Join(dir, name+"-key.pem")
	write(t, cert, "CERTIFICATE", c.Raw)
	write(t, key, "PRIVATE KEY", b)
	return cert, key
}

// sign makes a certificate; without an authority it signs itself.
func sign(t *testing.T, template *x509.Certificate, by *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if by == nil {
		by = &authority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

func write(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
