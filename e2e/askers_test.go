package e2e

import (
	"strings"
	"testing"
)

// option is one option of a program that asks, or several, with what its output
// then has ("!…": has not); nothing: the address that was asked for.
type option struct {
	args string
	want []string
}

// of makes an option; wants are divided by |.
func of(args, wants string) option {
	if wants == "" {
		return option{args, []string{clientsServer}}
	}
	return option{args, strings.Split(wants, "|")}
}

// askers asks with each option: it has to go well, without a warning, and with what
// the option is for.
func (c *clients) askers(t *testing.T, program []string, options []option) {
	t.Helper()
	for _, o := range options {
		argv := append(program[:len(program):len(program)], strings.Fields(o.args)...)
		out, err := in(c.ns, argv...).CombinedOutput()
		text := string(out)
		if err != nil {
			t.Errorf("%s: %v\n%s", strings.Join(argv, " "), err, text)
			continue
		}
		for _, w := range o.want {
			if no, not := strings.CutPrefix(w, "!"); strings.Contains(text, no) == not {
				t.Errorf("%s: want %q in\n%s", strings.Join(argv, " "), w, text)
			}
			text = strings.ReplaceAll(text, w, "") // also a warning that it is to give
		}
		for _, bad := range []string{"WARNING", "Warning", " ERROR", "error:", "mismatch", "bad packet", "malformed", "communications"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s: %s:\n%s", strings.Join(argv, " "), bad, text)
			}
		}
	}
}

// kdig has every option that changes what goes out, and those of the output, for
// what they print was read from the wire. Left out are +tls, +https and +quic, which
// are other transports, +proxy and -y, which want a server that is told of them.
func (c *clients) kdig(t *testing.T) {
	at := []string{"kdig", "@" + clientsServer, "+timeout=20"}
	c.askers(t, append(at, "web.corp.example", "A"), []option{
		of("", ""), of("-4", ""), of("-b "+clientsAddr, ""), of("-c IN", ""), of("-p 53", ""), of("-d", ""),
		of("-q web.corp.example -t AAAA", clientsServer6), of("-x "+clientsServer, "server-01.corp.example."), of("-x "+clientsServer6, "server-01.corp.example."),
		of("+multiline", ""), of("+short", ""), of("+generic", "\\# 4 0A000085"), of("+json", `"RCODE": 0|"rdataA": "10.0.0.133"`), of("+noidn", ""),
		of("+aaflag", ""), of("+tcflag", ""), of("+rdflag", "rd"), of("+nordflag", ""), of("+norecurse", ""), of("+raflag", ""),
		of("+zflag", ""), of("+adflag", ""), of("+cdflag", ";; Flags: qr aa rd ra cd"), of("+dnssec", "flags: do"),
		of("+noall +answer", ""), of("+qr", ""), of("+noheader", ""), of("+nocomments", ""), of("+noopt", ""), of("+opttext", ""),
		of("+noquestion", ""), of("+noauthority", ""), of("+noadditional", ""), of("+notsig", ""), of("+nostats", ""), of("+noclass", ""),
		of("+nottl", ""), of("+nocrypto", ""), of("+noanswer", "ANSWER: 1"),
		of("+tcp", "(TCP)"), of("+tcp +fastopen", "(TCP)"), of("+ignore", ""), of("+tcp +keepopen", "(TCP)"),
		of("+nsid", "server-01.corp.example"), of("+bufsize=512", ""), of("+bufsize=65535", ""), of("+bufsize=0", ""),
		of("+padding", ""), of("+padding=400", ""), of("+alignment", ""), of("+alignment=512", ""),
		of("+subnet=192.0.2.0/24", ""), of("+subnet=2001:db8::/56", ""), of("+subnet=0.0.0.0/0", ""),
		of("+edns", "Version: 0"), of("+edns=0", "Version: 0"), of("+noedns", "!Version"), of("+edns=1", "BADVERS"), of("+edns=255", "BADVERS"),
		of("+timeout=9", ""), of("+retry=5", ""), of("+expire", ""),
		of("+cookie", "COOKIE"), of("+cookie=0123456789abcdef", "COOKIE: 0123456789ABCDEF"),
		of("+badcookie +cookie=0123456789abcdef00112233445566778899aabbccddeeff", "WARNING: bad cookie|"+clientsServer),
		of("+ednsopt=65001", ""), of("+ednsopt=65001:beef", ""), of("+ednsopt=8:0009", ""), of("+ednsopt=3", "server-01.corp.example"),
		of("+nsid +cookie +dnssec +padding +subnet=192.0.2.0/24 +adflag +cdflag", "server-01.corp.example|COOKIE|flags: do"),
	})
	c.askers(t, at, []option{
		of("many.corp.example A", "WARNING: truncated reply|(TCP)|10.8.0.100|ANSWER: 100"), of("many.corp.example A +ignore", "(UDP)|tc"),
		of("_web._tcp.corp.example SRV", "1 100 8080 server-01.corp.example.|"+clientsServer6),
		of("web.corp.example TXT", `"path=/app" "version=2"`), of("web.corp.example ANY", "RFC8482"), of("web.corp.example TYPE65280", "NOERROR"),
		of("asleep.corp.example A +edns", "NOERROR|no healthy record|SOA"), of("nobody.corp.example A", "NXDOMAIN|SOA"),
		of("corp.example SOA", "hostmaster.corp.example."), of("www.corp.example A", "CNAME|"+clientsServer),
		of("id.server TXT CH +edns", "REFUSED"), of(foreignName+" A", foreignAddr),
	})
	c.askers(t, []string{"kdig", "-6", "@" + clientsServer6, "-b", clientsAddr6, "+timeout=20", "web.corp.example"}, []option{
		of("A", ""), of("AAAA +tcp", clientsServer6), of("A +cookie +nsid", "COOKIE"),
	})
}

// dig has its options for what goes out.
func (c *clients) dig(t *testing.T) {
	const (
		norecursion = "WARNING: recursion requested but not available"
		notimp      = "NOTIMP|EDNS: version: 0|" + norecursion
	)
	at := []string{"dig", "@" + clientsServer, "+time=20", "+tries=2"}
	c.askers(t, append(at, "web.corp.example", "A"), []option{
		of("", ""), of("+tcp", "(TCP)"), of("+tcp +keepopen", ""), of("+tcp +keepalive", "TCP KEEPALIVE: 10.0 secs"), of("+keepalive", ""),
		of("+dnssec", "flags: do"), of("+nsid", "server-01.corp.example"), of("+cookie", "(good)"), of("+nocookie", "!COOKIE"),
		of("+cookie=0123456789abcdef00112233445566778899aabbccddeeff", "(good)|BADCOOKIE, retrying"),
		of("+cookie=0123456789abcdef00112233445566778899aabbccddeeff +nobadcookie", "BADCOOKIE|(good)"),
		of("+subnet=192.0.2.0/24", ""), of("+padding=256", ""), of("+expire", ""), of("+ednsopt=65001:beef", ""), of("+ednsflags=0x7fff", ""),
		of("+noedns", "!EDNS"), of("+edns=1", "NOERROR"), of("+edns=1 +noednsnegotiation", "BADVERS"), of("+bufsize=512", ""), of("+bufsize=4096", "udp: 1232"),
		of("+norecurse", ""), of("+aaflag", ""), of("+adflag", ""), of("+cdflag", "cd"), of("+zflag", ""), of("+tcflag", ""), of("+raflag", ""),
		of("+opcode=STATUS", notimp), of("+opcode=NOTIFY", notimp), of("+qid=0", "id: 0"), of("+unknownformat", `\# 4 0A000085`), of("+yaml", "NOERROR"),
		of("+ignore", ""), of("+qr", ""), of("+identify +short", ""),
	})
	c.askers(t, at, []option{
		of("+header-only web.corp.example", "FORMERR|EDNS: version: 0|"+norecursion), of("-x "+clientsServer6, "server-01.corp.example."),
		of("+domain=corp.example +search web", ""), of("many.corp.example", "(TCP)|ANSWER: 100"), of("many.corp.example +ignore", " tc "),
		of("_web._tcp.corp.example SRV", "1 100 8080 server-01.corp.example.|"+clientsServer6), of("corp.example NS", "server-01.corp.example.|"+clientsServer),
		of("open.corp.example", clientsServer+"|EDE: 0 (Other): (no healthy record: these are all there are)"),
		of("asleep.corp.example", "EDE: 0 (Other): (no healthy record)"), of("web.corp.example ANY", "RFC8482"), of("-c CH version.bind TXT", "REFUSED|EDE: 21"),
		of("ext.corp.example", foreignAddr), of("-6 @"+clientsServer6+" web.corp.example", ""),
	})
}

func (c *clients) drill(t *testing.T) {
	c.askers(t, []string{"drill", "@" + clientsServer}, []option{
		of("web.corp.example A", ""), of("-t web.corp.example A", ""), of("-D web.corp.example A", ""), of("-b 512 web.corp.example A", ""),
		of("-b 4096 web.corp.example A", ""), of("-a web.corp.example A", ""), of("-4 web.corp.example A", ""), of("-c /dev/null web.corp.example A", ""),
		of("-o rd web.corp.example A", ""), of("-o CD web.corp.example A", ""), of("-o AD web.corp.example A", ""), of("-x "+clientsServer, "server-01.corp.example."),
		of("web.corp.example AAAA", clientsServer6), of("web.corp.example TXT", "version=2"), of("_web._tcp.corp.example SRV", "8080 server-01.corp.example."),
		of("www.corp.example A", "CNAME|"+clientsServer), of("nobody.corp.example A", "NXDOMAIN"), of("asleep.corp.example A", "NOERROR|SOA"),
		of("corp.example SOA", "hostmaster.corp.example."), of("-t many.corp.example A", "10.8.0.100"), of("many.corp.example A", "10.8.0.|WARNING: The answer packet was truncated"),
		of("web.corp.example ANY", "RFC8482"), of(foreignName+" A", foreignAddr),
	})
}
