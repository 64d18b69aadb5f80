package store

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// tlsConfig is nil when no TLS is asked for. The client's certificate is read for each handshake.
func tlsConfig(cfg Config) (*tls.Config, error) {
	secure := cfg.CACert != "" || cfg.Cert != "" || cfg.Key != ""
	for _, e := range cfg.Endpoints {
		secure = secure || len(e) > 8 && e[:8] == "https://"
	}
	if !secure {
		return nil, nil
	}
	if (cfg.Cert == "") != (cfg.Key == "") {
		return nil, errors.New("for the store, a certificate and its key are given together or not at all")
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CACert != "" {
		pem, err := os.ReadFile(cfg.CACert)
		if err != nil {
			return nil, fmt.Errorf("certificate authorities of the store: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("certificate authorities of the store: no certificate in %s", cfg.CACert)
		}
	}
	if cfg.Cert != "" {
		load := func() (*tls.Certificate, error) {
			c, err := tls.LoadX509KeyPair(cfg.Cert, cfg.Key)
			if err != nil {
				return nil, fmt.Errorf("certificate for the store (%s, %s): %w", cfg.Cert, cfg.Key, err)
			}
			return &c, nil
		}
		if _, err := load(); err != nil {
			return nil, err
		}
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return t, nil
}
