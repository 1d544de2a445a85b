package nameserver

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// paddingBlock is what the length of a padded reply is a multiple of (RFC 8467
	// §4.1).
	paddingBlock = 468

	// lookEvery is how often the files of a certificate are looked at, at most:
	// when somebody connects.
	lookEvery = time.Second
)

// TLS says where DNS over TLS is served (RFC 7858): on each bind address at Port, by
// the certificate and the key in these PEM files. They are read anew when they
// change. Cert "": it is not served.
type TLS struct {
	Port      uint16 // 0: the system chooses one for each address, for tests
	Cert, Key string
}

// listenTLS opens the listeners. The caller closes what is open after an error.
func (s *Server) listenTLS() error {
	if s.tls.Cert == "" {
		return nil
	}
	held := &certificate{TLS: s.tls, log: s.log}
	if err := held.read(); err != nil {
		return fmt.Errorf("dns: DNS over TLS: %w", err)
	}
	s.tlsConfig = &tls.Config{
		GetCertificate: held.get,
		MinVersion:     tls.VersionTLS12, // RFC 8310 §9
		NextProtos:     []string{"dot"},  // RFC 7858 as registered; clients may leave it out
	}
	for _, a := range s.bind {
		addr := netip.AddrPortFrom(a, s.tls.Port)
		family := "4"
		if a.Is6() {
			family = "6"
		}
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp"+family, addr.String())
		if err != nil {
			return listenError("TLS", addr, err)
		}
		s.tlsListeners = append(s.tlsListeners, l.(*net.TCPListener))
	}
	return nil
}

// TLSAddrs gives the addresses and ports of DNS over TLS that Listen opened, in the
// order of Bind.
func (s *Server) TLSAddrs() []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, l := range s.tlsListeners {
		addrs = append(addrs, l.Addr().(*net.TCPAddr).AddrPort())
	}
	return addrs
}

// secure begins TLS on a connection. It takes as long as a question may take, at
// most; conn is closed when it fails.
func (s *Server) secure(ctx context.Context, conn net.Conn) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.idle)
	defer cancel()
	t := tls.Server(conn, s.tlsConfig)
	if err := t.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return t, nil
}

// certificate is what is in two files.
type certificate struct {
	TLS
	log *slog.Logger

	mu     sync.Mutex // guards what follows
	looked time.Time
	pair   *tls.Certificate
	// cert and key are the files as they were when pair was read.
	cert, key os.FileInfo
	// told is what is wrong with the files, once that is in the log.
	told string
}

// get is a tls.Config's GetCertificate. When the files have changed and what is in
// them is no good, or not yet, the certificate stays the one that was good.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < lookEvery {
		return c.pair, nil
	}
	c.looked = time.Now()
	cert, certErr := os.Stat(c.Cert)
	key, keyErr := os.Stat(c.Key)
	if certErr == nil && keyErr == nil && sameFile(cert, c.cert) && sameFile(key, c.key) {
		c.told = ""
		return c.pair, nil
	}
	if err := c.read(); err != nil {
		if c.told != err.Error() {
			c.told = err.Error()
			c.log.Warn("DNS over TLS goes on with the certificate that it has", "error", err)
		}
		return c.pair, nil
	}
	c.told = ""
	c.log.Info("DNS over TLS: the certificate was read anew", "file", c.Cert, "expires", c.pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	return c.pair, nil
}

// read reads the files. The caller holds mu, or has c for itself.
func (c *certificate) read() error {
	// The files before what is in them: one that is written to meanwhile is read
	// again.
	cert, err := os.Stat(c.Cert)
	if err != nil {
		return err
	}
	key, err := os.Stat(c.Key)
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return fmt.Errorf("%s and %s: %w", c.Cert, c.Key, err)
	}
	if perm := key.Mode().Perm(); perm&0o004 != 0 && c.pair != nil { // the first time config has told
		c.log.Warn(fmt.Sprintf("%s is readable by others (mode %04o): chmod o-r %s", c.Key, perm, c.Key))
	}
	c.pair, c.cert, c.key = &pair, cert, key
	return nil
}

// sameFile says whether a file is as it was.
func sameFile(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// wantsPadding says whether a question has the option for it (RFC 7830 §4).
func wantsPadding(raw []byte) bool {
	at := findOPT(raw)
	if at < 0 {
		return false
	}
	options := raw[at+optSize:]
	for len(options) >= 4 {
		n := int(binary.BigEndian.Uint16(options[2:]))
		if binary.BigEndian.Uint16(options) == dns.EDNS0PADDING {
			return true
		}
		if len(options) < 4+n {
			break
		}
		options = options[4+n:]
	}
	return false
}

// padded gives a reply with so many octets more that its length tells little. It may
// change reply.
func padded(reply []byte) []byte {
	at := findOPT(reply)
	if at < 0 {
		return reply
	}
	n := (len(reply)+4+paddingBlock-1)/paddingBlock*paddingBlock - len(reply) - 4
	if len(reply)+4+n > dns.MaxMsgSize {
		return reply
	}
	length := reply[at+optSize-2:]
	binary.BigEndian.PutUint16(length, binary.BigEndian.Uint16(length)+4+uint16(n))
	reply = binary.BigEndian.AppendUint16(reply, dns.EDNS0PADDING)
	reply = binary.BigEndian.AppendUint16(reply, uint16(n))
	return append(reply, make([]byte, n)...)
}

// findOPT gives the place of the OPT record if it is the last record of a message, as
// those of our replies are, else -1.
func findOPT(msg []byte) int {
	if len(msg) < headerSize {
		return -1
	}
	count := func(i int) int { return int(binary.BigEndian.Uint16(msg[4+2*i:])) }
	at := headerSize
	for range count(0) {
		if at = skipName(msg, at) + 4; at > len(msg) {
			return -1
		}
	}
	records := count(1) + count(2) + count(3)
	for i := range records {
		name := at
		if at = skipName(msg, at); at+10 > len(msg) {
			return -1
		}
		qtype := binary.BigEndian.Uint16(msg[at:])
		at += 10 + int(binary.BigEndian.Uint16(msg[at+8:]))
		if i == records-1 && at == len(msg) && qtype == dns.TypeOPT && msg[name] == 0 {
			return name
		}
	}
	return -1
}
