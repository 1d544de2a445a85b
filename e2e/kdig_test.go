package e2e

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// kdigOptions gives what kdig's help has of options: "+name", "+noname" and "-x".
func kdigOptions(t *testing.T) (all []string) {
	t.Helper()
	help := run(t, "kdig", "--help")
	for _, m := range regexp.MustCompile(`(?m)^ +\+(\[no\])?([a-z-]+)`).FindAllStringSubmatch(help, -1) {
		all = append(all, "+"+m[2])
		if m[1] != "" {
			all = append(all, "+no"+m[2])
		}
	}
	usage, _, _ := strings.Cut(help, "\n\n")
	for _, m := range regexp.MustCompile(`\[(-[A-Za-z0-9])[ \]]`).FindAllStringSubmatch(usage, -1) {
		all = append(all, m[1])
	}
	if !slices.Contains(all, "+nsid") || !slices.Contains(all, "+noidn") || !slices.Contains(all, "-y") {
		t.Fatalf("kdig's help has the options %q:\n%s", all, help)
	}
	return all
}

// pin is what kdig knows the key of a certificate by (RFC 7858 §4.2).
func pin(t *testing.T, cert string) string {
	t.Helper()
	text, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(parsed.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// kdig is run with every option that its help has, those of its output too, for what
// they print was read from the wire. A +no that no line has goes without saying:
// it changes nothing.
func (c *clients) kdig(t *testing.T) {
	const (
		secret     = "key.example:c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
		unverified = "WARNING: reply verification|BADKEY"
		soaAlone   = "(1 messages, 1 records)"
	)
	keyfile, tap, verified := filepath.Join(c.dir, "key.example"), filepath.Join(c.dir, "tap"), "+tls-ca="+c.cert+" +tls-hostname="+clientsName
	write(t, keyfile, "hmac-sha512:"+secret, 0o600)

	at := []string{"kdig", "@" + clientsServer, "+timeout=20"}
	web := append(at, "web.corp.example", "A")
	plain := []option{
		of("", ""), of("-4", ""), of("-b "+clientsAddr, ""), of("-c IN", ""), of("-p 53", ""), of("-d", ""),
		of("-q web.corp.example -t AAAA", clientsServer6), of("-x "+clientsServer, clientsName+"."), of("-x "+clientsServer6, clientsName+"."),
		of("+multiline", ""), of("+short", ""), of("+generic", "\\# 4 0A000085"), of("+json", `"RCODE": 0|"rdataA": "10.0.0.133"`), of("+noidn", ""),
		of("+aaflag", ""), of("+tcflag", ""), of("+rdflag", "rd"), of("+nordflag", "!rd"), of("+recurse", "rd"), of("+norecurse", "!rd"), of("+raflag", ""),
		of("+zflag", ""), of("+adflag", ""), of("+cdflag", ";; Flags: qr aa rd ra cd"), of("+dnssec", "flags: do"),
		of("+noall", "!"+clientsServer), of("+noall +answer", ""), of("+all", ""), of("+qr", ""), of("+header", ""), of("+comments", ""), of("+question", ""),
		of("+authority", ""), of("+additional", ""), of("+opt", ""), of("+opttext", ""), of("+tsig", ""), of("+stats", ""), of("+class", ""), of("+ttl", ""),
		of("+crypto", ""), of("+answer", ""), of("+noanswer", "ANSWER: 1"),
		of("+tcp", "(TCP)"), of("+tcp +fastopen", "(TCP)"), of("+ignore", ""), of("+tcp +keepopen", "(TCP)"),
		of("+tls", "TLS session"), of(verified, "TLS session"), of(verified+" +tls-sni=other.example", "TLS session"), of("+tls-pin="+pin(t, c.cert), "TLS session"),
		of(verified+" +tls-certfile="+c.cert+" +tls-keyfile="+filepath.Join(filepath.Dir(c.cert), "key.pem"), "TLS session"),
		of("+tls +nopadding", "TLS session|!PADDING"), of("+tls +padding=300", "TLS session|PADDING"), of("+tls +noedns", "TLS session|!PADDING"),
		of("+tls +nsid +cookie +dnssec +bufsize=512 +subnet=192.0.2.0/24", "TLS session|"+clientsName+"|COOKIE|flags: do"),
		of("+nsid", clientsName), of("+bufsize=512", ""), of("+bufsize=65535", ""), of("+bufsize=0", ""),
		of("+padding", ""), of("+padding=400", ""), of("+alignment", ""), of("+alignment=512", ""),
		of("+subnet=192.0.2.0/24", ""), of("+subnet=2001:db8::/56", ""), of("+subnet=0.0.0.0/0", ""),
		of("+edns", "Version: 0"), of("+edns=0", "Version: 0"), of("+noedns", "!Version"), of("+edns=1", "BADVERS"), of("+edns=255", "BADVERS"),
		of("+timeout=9", ""), of("+retry=5", ""), of("+expire", ""),
		of("+cookie", "COOKIE"), of("+cookie=0123456789abcdef", "COOKIE: 0123456789ABCDEF"),
		of("+badcookie +cookie=0123456789abcdef00112233445566778899aabbccddeeff", "WARNING: bad cookie|"+clientsServer),
		of("+ednsopt=65001", ""), of("+ednsopt=65001:beef +ednsopt=65002", ""), of("+ednsopt=8:0009", ""), of("+ednsopt=3", clientsName),
		of("+nsid +cookie +dnssec +padding +subnet=192.0.2.0/24 +adflag +cdflag", clientsName+"|COOKIE|flags: do"),
		// No key is known here (RFC 8945 §5.2.1).
		of("-y "+secret, unverified), of("-y hmac-md5:"+secret, unverified), of("-y hmac-sha1:"+secret+" +tcp", unverified),
		of("-y hmac-sha512:"+secret+" +nsid +edns", unverified+"|signed with a TSIG key|"+clientsName), of("-k "+keyfile+" +tls", unverified),
		of("-E "+tap, ""),
	}
	refused := []option{
		of("+https", "can't connect|!timeout"), of("+https=/dns-query +https-get", "can't connect|!timeout"), of("+quic", "failed to query|!timeout"),
		of("+tls-ca="+c.cert+" +tls-hostname=other.example", "handshake failed|!timeout"), of("+tls-pin="+strings.Repeat("A", 43)+"=", "handshake failed|!timeout"),
		of(verified+" +tls-ocsp-stapling", "unable to retrieve stapled OCSP data|!timeout"),
		// What no server without a PROXY protocol takes for a question of these.
		of("+proxy=192.0.2.1-192.0.2.2 +timeout=1 +retry=0", "reply ID (3338)"), of("+proxy=192.0.2.1-192.0.2.2 +tcp +timeout=1", "timeout"),
	}
	have := "-6 -G " // below
	for _, o := range slices.Concat(plain, refused) {
		have += o.args + " "
	}
	for _, name := range kdigOptions(t) {
		switch {
		case regexp.MustCompile(regexp.QuoteMeta(name) + `[ =]`).MatchString(have):
		case strings.HasPrefix(name, "+no"):
			plain = append(plain, of(name, ""))
		default:
			t.Errorf("kdig has an option %s, which is not tried", name)
		}
	}
	c.askers(t, web, plain)
	c.refusals(t, web, refused)
	c.askers(t, []string{"kdig", "-G", tap}, []option{of("", clientsServer)})
	c.askers(t, at, []option{
		of("many.corp.example A", "WARNING: truncated reply|(TCP)|10.8.0.100|ANSWER: 100"), of("many.corp.example A +ignore", "(UDP)|tc"),
		of("_web._tcp.corp.example SRV", "1 100 8080 server-01.corp.example.|"+clientsServer6),
		of("web.corp.example TXT", `"path=/app" "version=2"`), of("web.corp.example ANY", "RFC8482"), of("web.corp.example TYPE65280", "NOERROR"),
		of("web.corp.example TYPE123", "NOERROR|SOA"), of("web.corp.example TYPE1 +generic", "\\# 4 0A000085"), of("web.corp.example TYPE0", "NOERROR"),
		of("asleep.corp.example A +edns", "NOERROR|no healthy record|SOA"), of("nobody.corp.example A", "NXDOMAIN|SOA"),
		of("corp.example SOA", "hostmaster.corp.example."), of("www.corp.example A", "CNAME|"+clientsServer),
		of("id.server TXT CH +edns", "REFUSED"), of("web.corp.example A -c CLASS65280", "REFUSED"), of(foreignName+" A", foreignAddr),
		of("corp.example AXFR", "8080 server-01.corp.example.|10.8.0.100|"), of("corp.example AXFR +tls", "10.8.0.100"),
		of("corp.example IXFR=1", "10.8.0.100"), of("corp.example IXFR=2147483647", soaAlone), of("corp.example IXFR=1 +notcp", soaAlone),
		of("corp.example NOTIFY", "NOTIMPL|WARNING: response doesn't have question section"), of("corp.example NOTIFY=5", "NOTIMPL|WARNING: response doesn't have question section"),
	})
	c.refusals(t, at, []option{
		of("corp.example AXFR -y "+secret, "'BADKEY'|!timeout"), of("corp.example IXFR=1 -y "+secret, "'BADKEY'|!timeout"),
		of("example.org AXFR", "'NOTAUTH'|!timeout"), of("corp.example AXFR +notcp", "'REFUSED'|!timeout"),
	})
	// Several questions on one connection.
	for _, transport := range []string{"+tcp", "+tls"} {
		c.askers(t, append(at, transport, "+keepopen"), []option{
			of("web.corp.example A "+foreignName+" A app.corp.example AAAA nobody.corp.example A", clientsServer+"|"+foreignAddr+"|fd00::9|NXDOMAIN"),
		})
	}
	c.askers(t, []string{"kdig", "-6", "@" + clientsServer6, "-b", clientsAddr6, "+timeout=20", "web.corp.example"}, []option{
		of("A", ""), of("AAAA +tcp", clientsServer6), of("A +cookie +nsid", "COOKIE"),
	})
	c.askers(t, []string{"env", "LC_ALL=C.UTF-8", "kdig", "@" + clientsServer, "+timeout=20"}, []option{
		of("bücher.odd.example.net A", "bücher.odd.example.net.|192.0.2.17"), of("bücher.corp.example A", "NXDOMAIN"),
		of("xn--bcher-kva.odd.example.net A +noidn", "xn--bcher-kva.odd.example.net.|192.0.2.17"),
	})
}
