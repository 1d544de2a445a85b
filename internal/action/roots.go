package action

import (
	"crypto/x509"
	"fmt"
	"os"
)

// Roots reads the certificates (PEM) of those who sign the servers that notices
// go to; nil, for an empty path, means those that the system trusts.
func Roots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the certificates to trust: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read the certificates to trust: %s has none (PEM)", path)
	}
	return pool, nil
}
