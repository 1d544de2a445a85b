package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// issue writes a certificate for a name, which signs itself, and its key.
func issue(t *testing.T, cert, key, name string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})), 0o600)
	write(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), 0o644)
}

// TestTLS: kdig checks the certificate, has answers over TLS, and those of the
// certificate that takes its place.
func TestTLS(t *testing.T) {
	require(t, "kdig")
	dir, err := os.MkdirTemp("", "mrk-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cert, key, logs := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "log")
	issue(t, cert, key, "dns.corp.example")
	port := freePort(t)
	config := filepath.Join(dir, "murakumo.yml")
	write(t, config, fmt.Sprintf(`auth-key: 0123456789abcdef0123456789abcdef
host: 127.0.0.1, server-01
address: 127.0.0.1
port: %d
gossip-port: %d
tls-port: %d
tls-cert: %s
tls-key: %s
domain: corp.example
socket: %s
working-dir: %s
`, freePort(t), freePort(t), port, cert, key, filepath.Join(dir, "socket"), dir), 0o600)
	start(t, t, "murakumo", logs, exec.Command(filepath.Join(binaries(t), "murakumo"), "-c", config))
	t.Cleanup(func() {
		if t.Failed() {
			b, _ := os.ReadFile(logs)
			t.Logf("==== murakumo ====\n%s", b)
		}
	})
	kdig := func(name string, args ...string) string {
		args = append([]string{"@127.0.0.1", "-p", fmt.Sprint(port), "+tls-ca=" + cert, "+tls-hostname=" + name, "+retry=0", "+time=5",
			"server-01.corp.example", "A"}, args...)
		out, err := exec.Command("kdig", args...).CombinedOutput()
		if err != nil {
			return fmt.Sprintf("kdig: %v: %s", err, out)
		}
		return string(out)
	}
	answered := func(name string, args ...string) func() string {
		return func() string {
			out := kdig(name, args...)
			if !strings.Contains(out, "status: NOERROR") || !strings.Contains(out, "127.0.0.1\n") || !strings.Contains(out, "TLS session") {
				return out
			}
			return ""
		}
	}
	wait(t, "an answer over TLS", 20*time.Second, answered("dns.corp.example"))
	for _, args := range [][]string{{"+padding"}, {"+edns", "+nsid", "+cookie"}, {"+keepopen", "server-01.corp.example", "AAAA"}, {"+nopadding", "+ignore"}} {
		if wrong := answered("dns.corp.example", args...)(); wrong != "" {
			t.Errorf("%v: %s", args, wrong)
		}
	}
	if out := kdig("other.corp.example"); strings.Contains(out, "NOERROR") {
		t.Errorf("under another name than that of the certificate: %s", out)
	}
	issue(t, cert, key, "other.corp.example")
	wait(t, "the new certificate", 20*time.Second, answered("other.corp.example"))
}
