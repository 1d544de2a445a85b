package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"time"
)

// TLS is DNS over TLS; Cert "": it is not served.
type TLS struct {
	Port      uint16
	Cert, Key string // paths of PEM files
}

// checkTLS asks whether what there is for DNS over TLS fits together.
func (l *loader) checkTLS(c *Config) {
	cert, hasCert := l.there["tls-cert"]
	key, hasKey := l.there["tls-key"]
	if port, ok := l.there["tls-port"]; ok && !hasCert && !hasKey && !l.partial {
		l.warning(port.place, port.key, "means nothing without tls-cert and tls-key")
	}
	switch {
	case hasCert && !hasKey && !l.partial:
		l.problem(cert.place, "tls-key", "is missing beside tls-cert")
	case hasKey && !hasCert && !l.partial:
		l.problem(key.place, "tls-cert", "is missing beside tls-key")
	}
	if c.TLS.Cert == "" || c.TLS.Key == "" {
		return
	}
	for _, other := range []struct {
		key  string
		port uint16
	}{{"port", c.Port}, {"gossip-port", c.Gossip.Port}} {
		if c.TLS.Port == other.port {
			at := cert.place
			if port, ok := l.there["tls-port"]; ok {
				at = port.place
			}
			l.problem(at, "tls-port", "tls-port and %s are both %d", other.key, other.port)
		}
	}
	certData, _, ok := l.tlsFile(cert, c.TLS.Cert)
	keyData, info, ok2 := l.tlsFile(key, c.TLS.Key)
	if !ok || !ok2 {
		return
	}
	if !x509.NewCertPool().AppendCertsFromPEM(certData) {
		l.problem(cert.place, cert.key, "%s has no certificate: expected PEM, with BEGIN CERTIFICATE", c.TLS.Cert)
		return
	}
	pair, err := tls.X509KeyPair(certData, keyData)
	if err != nil {
		l.problem(key.place, key.key, "%s for %s: %s", c.TLS.Key, c.TLS.Cert, err)
		return
	}
	if now := time.Now(); now.After(pair.Leaf.NotAfter) {
		l.warning(cert.place, cert.key, "%s expired on %s: clients that look will refuse it", c.TLS.Cert, pair.Leaf.NotAfter.UTC().Format(time.DateOnly))
	}
	if perm := info.Mode().Perm(); perm&0o004 != 0 {
		l.warning(key.place, key.key, "%s is readable by others (mode %04o): chmod o-r %s", c.TLS.Key, perm, c.TLS.Key)
	}
}

func (l *loader) tlsFile(v value, path string) ([]byte, fs.FileInfo, bool) {
	data, info, err := l.readFile(path)
	if err == nil {
		return data, info, true
	}
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	l.problem(v.place, v.key, "%s: %s", path, err)
	return nil, nil, false
}
