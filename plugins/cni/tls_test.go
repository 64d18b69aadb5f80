package cni

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tuplenet/model/store"
)

// certificate writes a certificate that signs itself, for everything, with its key, and returns both files.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	public, err := x509.CreateCertificate(rand.Reader, c, c, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{"cert": {Type: "CERTIFICATE", Bytes: public}, "key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "cert"), filepath.Join(dir, "key")
}

func TestT52_The_store_is_reached_by_TLS_with_the_files_of_the_configuration(t *testing.T) {
	cert, key := certificate(t)
	e, err := store.EmbeddedConfig{Dir: t.TempDir(), Listen: "https://127.0.0.1:0", UnsafeNoSync: true, CACert: cert, Cert: cert, Key: key}.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	address := strings.TrimPrefix(e.Endpoints()[0], "https://")
	live := func(seconds int, keys string) error {
		n, err := read("", fmt.Sprintf(`"etcd_cluster": %q, "timeout": %d, %s`, address, seconds, keys))
		if err != nil {
			t.Fatal(err)
		}
		st, err := n.open()
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		_, err = st.Live(t.Context())
		return err
	}
	if err := live(60, fmt.Sprintf(`"etcd_cacert": %q, "etcd_cert": %q, "etcd_key": %q`, cert, cert, key)); err != nil {
		t.Errorf("with certificate: %v", err)
	}
	if err := live(1, fmt.Sprintf(`"etcd_cacert": %q`, cert)); err == nil {
		t.Error("reached without a certificate of its own")
	}
}
