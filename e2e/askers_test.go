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

// refusals are askers that have to fail at once, or after a time of their own: with
// an exit code and these words.
func (c *clients) refusals(t *testing.T, program []string, options []option) {
	t.Helper()
	for _, o := range options {
		argv := append(program[:len(program):len(program)], strings.Fields(o.args)...)
		out, err := in(c.ns, argv...).CombinedOutput()
		if err == nil {
			t.Errorf("%s went well:\n%s", strings.Join(argv, " "), out)
		}
		for _, w := range o.want {
			if no, not := strings.CutPrefix(w, "!"); strings.Contains(string(out), no) == not {
				t.Errorf("%s: want %q in\n%s", strings.Join(argv, " "), w, out)
			}
		}
	}
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
