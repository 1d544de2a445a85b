package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// oddZone gives what the resolver's configuration has of names that are not of letters,
// digits and hyphens. In web\.corp.example. the first label is "web.corp": it is no name
// below corp.example. They are of the root's zone, which the resolver thus has and which
// nobody has signed.
func oddZone(t *testing.T, dir string) string {
	t.Helper()
	file := filepath.Join(dir, "root.zone")
	write(t, file, `$ORIGIN .
$TTL 300
@ SOA ns.example.org. mail.example.org. 1 3600 600 86400 60
@ NS ns.example.org.
web\.corp.example.  A   192.0.2.18
$ORIGIN odd.example.net.
a\.b             A   192.0.2.11
a\.b             TXT "a dot"
two\032words     A   192.0.2.12
two\032words     TXT "a space" "\000\255;\"\\"
caf\195\169      A   192.0.2.13
\255\000\128     A   192.0.2.14
_dmarc           TXT "v=DMARC1; p=none"
_sip._udp        SRV 1 2 5060 caf\195\169
\@\;\"\(\$\\     A   192.0.2.16
xn--bcher-kva    A   192.0.2.17
Mixed-CASE       A   192.0.2.19
`, 0o644)
	return fmt.Sprintf("auth-zone:\n  name: .\n  zonefile: %q\n  for-upstream: no\n  for-downstream: yes\n", file)
}

// odd has names of every octet asked for, of the resolvers' and of ours, over each transport:
// TYPE:NAME as dig and dnspython write them, and the code with the records that have to come.
func (c *clients) odd(t *testing.T) {
	asks := map[string]string{
		`A:a\.b.odd.example.net.`:             "NOERROR, A 192.0.2.11",
		`A:A\.B.odd.Example.net.`:             "NOERROR, A 192.0.2.11",
		`TXT:a\.b.odd.example.net.`:           `NOERROR, TXT "a dot"`,
		`ANY:caf\195\169.odd.example.net.`:    "NOERROR, A 192.0.2.13",
		`A:a.b.odd.example.net.`:              "NXDOMAIN",
		`A:two\032words.odd.example.net.`:     "NOERROR, A 192.0.2.12",
		`TXT:two\032words.odd.example.net.`:   `NOERROR, TXT "a space" "\000\255;\"\\"`,
		`A:caf\195\169.odd.example.net.`:      "NOERROR, A 192.0.2.13",
		`A:CAF\195\169.odd.example.net.`:      "NOERROR, A 192.0.2.13",
		`A:caf\195\137.odd.example.net.`:      "NXDOMAIN", // É: no letter of ASCII has another case
		`A:\255\000\128.odd.example.net.`:     "NOERROR, A 192.0.2.14",
		`TXT:_dmarc.odd.example.net.`:         `NOERROR, TXT "v=DMARC1; p=none"`,
		`ANY:_DMARC.odd.example.net.`:         `NOERROR, TXT "v=DMARC1; p=none"`,
		`SRV:_sip._udp.odd.example.net.`:      `NOERROR, SRV 1 2 5060 caf\195\169.odd.example.net.`,
		`A:\@\;\"\(\$\\.odd.example.net.`:     "NOERROR, A 192.0.2.16",
		`A:mixed-case.odd.example.net.`:       "NOERROR, A 192.0.2.19",
		`A:MIXED-CASE.ODD.EXAMPLE.NET.`:       "NOERROR, A 192.0.2.19",
		`TXT:mixed-case.odd.example.net.`:     "NOERROR",
		`A:web\.corp.example.`:                "NOERROR, A 192.0.2.18",
		`ANY:web\.corp.example.`:              "NOERROR, A 192.0.2.18",
		`A:www\.corp.example.`:                "NXDOMAIN",
		`A:WEB.Corp.EXAMPLE.`:                 "NOERROR, A " + clientsServer,
		`A:\119\069b.corp.example.`:           "NOERROR, A " + clientsServer, // wEb
		`TXT:WEB.corp.example.`:               `NOERROR, TXT "path=/app" "version=2"`,
		`ANY:WEB.corp.example.`:               `NOERROR, HINFO "RFC8482" ""`,
		`ANY:asleep.corp.example.`:            "NOERROR",
		`SRV:_WEB._TCP.corp.example.`:         "NOERROR, SRV 1 100 8080 " + clientsName + ".",
		`A:_web._tcp.corp.example.`:           "NOERROR",
		`A:_tcp.corp.example.`:                "NOERROR",
		`A:web\032.corp.example.`:             "NXDOMAIN",
		`A:web\.x.corp.example.`:              "NXDOMAIN",
		`A:\.web.corp.example.`:               "NXDOMAIN",
		`A:web\000.corp.example.`:             "NXDOMAIN",
		`TXT:\255eb.corp.example.`:            "NXDOMAIN",
		`ANY:web\.corp.example.corp.example.`: "NXDOMAIN",
		`ANY:\*.corp.example.`:                "NXDOMAIN",
		`PTR:133.0.0.10.IN-ADDR.ARPA.`:        "NOERROR, PTR " + clientsName + ".",
		`PTR:\049\0513.0.0.10.in-addr.arpa.`:  "NOERROR, PTR " + clientsName + ".", // 133
		`ANY:133.0.0.10.in-addr.arpa.`:        `NOERROR, HINFO "RFC8482" ""`,
		`TXT:133.0.0.10.in-addr.arpa.`:        "NOERROR",
	}

	var words []string
	for ask := range asks {
		words = append(words, ask)
	}
	out, err := in(c.ns, append([]string{"/usr/bin/python3", "testdata/clients/odd.py", clientsServer, c.cert, clientsName}, words...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := map[string]string{}
	for line := range strings.Lines(string(out)) {
		what, is, _ := strings.Cut(strings.TrimSpace(line), " = ")
		got[what] = is
	}
	for transport, flag := range map[string]string{"udp": "+notcp", "tcp": "+tcp", "tls": "+tls"} {
		argv := []string{"dig", "@" + clientsServer, "+time=20", flag}
		for _, ask := range words {
			kind, name, _ := strings.Cut(ask, ":")
			argv = append(argv, "-q", name, "-t", kind)
		}
		out, err := in(c.ns, argv...).CombinedOutput()
		parts := strings.Split(string(out), ";; Got answer:")[1:]
		if err != nil || len(parts) != len(words) {
			t.Fatalf("dig %s: %v, %d answers\n%s", flag, err, len(parts), out)
		}
		for i, ask := range words {
			want := asks[ask]
			kind, name, _ := strings.Cut(ask, ":")
			if is := got[transport+" "+kind+" "+name]; is != want {
				t.Errorf("dnspython, %s %s: %q, want %q", transport, ask, is, want)
			}
			a, err := parseDig(parts[i])
			if err != nil {
				t.Errorf("dig %s %s: %v", flag, ask, err)
				continue
			}
			// dig writes some owners otherwise; dnspython has looked at their octets.
			for i, r := range a.records {
				_, a.records[i], _ = strings.Cut(r, " ")
			}
			var all []string
			status, records, _ := strings.Cut(want, ", ")
			if records != "" {
				all = strings.Split(records, ", ")
			}
			if wrong := a.want(status, all...); wrong != "" {
				t.Errorf("dig %s %s: %s", flag, ask, wrong)
			}
		}
	}
}
