package tpctl

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tuplenet/model/store"
)

// makeCertificate writes a certificate that is its own authority and good for the server and for a client.
func makeCertificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestTLSOptionsReachTheStore(t *testing.T) {
	cert, key := makeCertificate(t)
	etcd, err := store.EmbeddedConfig{
		Dir: t.TempDir(), Listen: "https://127.0.0.1:0", UnsafeNoSync: true, CACert: cert, Cert: cert, Key: key,
	}.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	address := strings.TrimPrefix(etcd.Endpoints()[0], "https://")
	for _, c := range []struct {
		name    string
		options string
		want    int
	}{
		{"authority and certificate of the client", "--cacert " + cert + " --cert " + cert + " --key " + key, ExitOK},
		{"no certificate of the client", "--timeout 500ms --cacert " + cert, ExitUnreachable},
		{"no TLS at all", "--timeout 500ms", ExitUnreachable},
		{"an authority that is no file", "--timeout 500ms --cacert " + cert + ".none", ExitRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			code := Main(context.Background(), Env{
				Args:  append(strings.Fields("-e "+address+" "+c.options), "ls", "show"),
				Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" },
			})
			if code != c.want {
				t.Errorf("exit code %d, want %d: %s", code, c.want, out.String())
			}
			t.Logf("%s", out.String())
		})
	}
}
