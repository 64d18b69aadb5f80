//go:build integration

package store

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// authority signs certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.make(t, name, nil)
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name+".pem") }

// make writes <name>.pem and <name>-key.pem.
func (a *authority) make(t *testing.T, name string, ips []net.IP) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: ips, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	parent, signer := a.cert, a.key
	if parent == nil {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, parent, signer = true, true, x509.KeyUsageCertSign, c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name: {Type: "CERTIFICATE", Bytes: der}, name + "-key": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(a.file(file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return c, key
}

func TestThe_store_is_reached_by_tls_and_with_user_and_password(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "ca")
	a.make(t, "server", []net.IP{net.IPv4(127, 0, 0, 1)})
	a.make(t, "client", nil)
	e, err := EmbeddedConfig{Dir: t.TempDir(), Listen: "https://127.0.0.1:0", UnsafeNoSync: true,
		CACert: a.file("ca"), Cert: a.file("server"), Key: a.file("server-key")}.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	hostPort := strings.TrimPrefix(e.Endpoints()[0], "https://")
	good := Config{Endpoints: []string{hostPort}, CACert: a.file("ca"), Cert: a.file("client"), Key: a.file("client-key"), DialTimeout: time.Minute}
	s := openAt(t, good)
	mustSwitch(t, s, "LS")

	quick := good
	quick.DialTimeout = 200 * time.Millisecond
	for name, change := range map[string]func(*Config){
		"plain text":      func(c *Config) { c.CACert, c.Cert, c.Key = "", "", "" },
		"no certificate":  func(c *Config) { c.Cert, c.Key = "", "" },
		"other authority": func(c *Config) { c.CACert = newAuthority(t, "ca").file("ca") },
	} {
		cfg := quick
		change(&cfg)
		if _, err := openAt(t, cfg).Snapshot(t.Context()); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	testUsers(t, s, good)
}

// testUsers turns on etcd's authentication and tries users.
func testUsers(t *testing.T, s *Store, good Config) {
	c, ctx := raw(t, s), t.Context()
	const secret = "kn0ck-kn0ck"
	steps := []func() error{
		func() error { _, err := c.UserAdd(ctx, "root", secret); return err },
		func() error { _, err := c.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := c.UserAdd(ctx, "guest", secret); return err },
		func() error { _, err := c.RoleAdd(ctx, "reader"); return err },
		func() error {
			_, err := c.RoleGrantPermission(ctx, "reader", s.keys.root, clientv3.GetPrefixRangeEnd(s.keys.root), clientv3.PermissionType(clientv3.PermRead))
			return err
		},
		func() error { _, err := c.UserGrantRole(ctx, "guest", "reader"); return err },
		func() error { _, err := c.AuthEnable(ctx); return err },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	as := func(user, password string) *Store {
		cfg := good
		cfg.User, cfg.Password = user, password
		return openAt(t, cfg)
	}
	mustSwitch(t, as("root", secret), "LS-2")
	guest := as("guest", secret)
	if snap, err := guest.Snapshot(ctx); err != nil || len(snap.Switches()) != 2 {
		t.Fatalf("%v %v", snap, err)
	}
	_, _, err := guest.AddSwitch(ctx, &model.LogicalSwitch{Name: "LS-3"})
	refused(t, err, ErrDenied, "add switch/LS-3: the store refused access")
	for _, bad := range []*Store{as("root", "wr0ng-secret"), as("nobody", "wr0ng-secret"), openAt(t, good)} {
		_, err := bad.Snapshot(ctx)
		refused(t, err, ErrDenied, "the store refused access")
		if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), secret) {
			t.Fatalf("a secret in an error: %s", err)
		}
	}
}
