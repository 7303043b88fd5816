package pki

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
)

func TestIssuedCertificatesVerify(t *testing.T) {
	authority, err := NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority.Certificate) {
		t.Fatal("the authority's certificate is not PEM")
	}
	cases := map[string]struct {
		request Request
		options x509.VerifyOptions
	}{
		"server by address": {
			Request{CommonName: "server", Hosts: []string{"127.0.0.1", "localhost"}},
			x509.VerifyOptions{DNSName: "127.0.0.1", KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}},
		},
		"server by name": {
			Request{CommonName: "server", Hosts: []string{"127.0.0.1", "localhost"}},
			x509.VerifyOptions{DNSName: "localhost", KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}},
		},
		"client": {
			Request{CommonName: "system:node:a", Organization: []string{"system:nodes"}},
			x509.VerifyOptions{KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			pair, err := authority.Issue(c.request)
			if err != nil {
				t.Fatal(err)
			}
			loaded, err := tls.X509KeyPair(pair.Certificate, pair.Key)
			if err != nil {
				t.Fatal(err)
			}
			c.options.Roots = roots
			if _, err := loaded.Leaf.Verify(c.options); err != nil {
				t.Fatal(err)
			}
			if got := loaded.Leaf.Subject.CommonName; got != c.request.CommonName {
				t.Fatalf("common name %q, want %q", got, c.request.CommonName)
			}
		})
	}
}
