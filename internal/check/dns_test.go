package check

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// unbound runs a private server of the test: a real one, on port 5353 of an
// address of its own, which asks nobody but two servers on loopback: one that
// always fails, and one that is silent.
func unbound(t *testing.T) (host string, cmd *exec.Cmd) {
	t.Helper()
	silent, _ := udpServer(t, func([]byte) [][]byte { return nil })
	broken, _ := udpServer(t, func(question []byte) [][]byte {
		return [][]byte{reply(t, question, func(m *dnsmessage.Message) { m.Additionals, m.RCode = nil, dnsmessage.RCodeServerFailure })}
	})
	host, dir := loopback(), t.TempDir()
	var many strings.Builder
	for i := range 200 {
		fmt.Fprintf(&many, "\tlocal-data: \"many.test. A 10.0.1.%d\"\n", i)
	}
	conf := strings.NewReplacer("HOST", host, "DIR", dir, "MANY", many.String(),
		"BROKEN", itoa(broken), "SILENT", itoa(silent)).Replace(`
server:
	interface: HOST@5353
	access-control: 127.0.0.0/8 allow
	do-daemonize: no
	chroot: ""
	username: ""
	directory: "DIR"
	pidfile: ""
	use-syslog: no
	logfile: ""
	verbosity: 1
	num-threads: 1
	module-config: "iterator"
	do-not-query-localhost: no
	outgoing-interface: 127.0.0.1
	local-zone: "test." static
	local-data: "www.test. A 10.0.0.1"
	local-data: "www.test. AAAA fd00::1"
	local-data: "six.test. AAAA fd00::1"
	local-data: "text.test. TXT nothing"
	local-zone: "closed." always_refuse
MANYforward-zone:
	name: "broken."
	forward-addr: 127.0.0.1@BROKEN
forward-zone:
	name: "silent."
	forward-addr: 127.0.0.1@SILENT
remote-control:
	control-enable: no
`)
	file := filepath.Join(dir, "unbound.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	return host, startServer(t, "start of service", "unbound", "unbound", "-d", "-c", file)
}

func TestDNSAgainstUnbound(t *testing.T) {
	host, cmd := unbound(t)
	leavesNothing(t)
	at := ", '" + host + "', 5353"
	for _, name := range []string{"www.test", "www.test.", "WWW.Test", "six.test", "many.test"} {
		good(t, compile(t, "dns_check '"+name+"'"+at))
	}
	for name, want := range map[string]string{
		"text.test":   "text.test. has no address",
		"none.test":   "none.test. A: NXDOMAIN",
		"any.closed":  "any.closed. A: REFUSED",
		"any.broken.": "any.broken. A: SERVFAIL",
	} {
		bad(t, compile(t, "dns_check '"+name+"'"+at), "dns_check '"+name+"'"+at+": dns "+host+":5353: ", want)
	}
	hangs(t, compile(t, "dns_check 'any.silent'"+at))

	// The same question as octets.
	raw := `udp_match 5353, "\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x04test\x00\x00\x01\x00\x01", '(?s)^\x00\x07.*\n\x00\x00\x01$', '` + host + "'"
	good(t, compile(t, raw))

	freeze(t, cmd)
	hangs(t, compile(t, "dns_check 'www.test'"+at))
	hangs(t, compile(t, "not dns_check 'www.test'"+at))
	hangs(t, compile(t, raw))
	thaw(t, cmd)
	good(t, compile(t, "dns_check 'www.test'"+at))
	kill(cmd)
	bad(t, compile(t, "dns_check 'www.test'"+at), "dns "+host+":5353: www.test. A: waiting for an answer: ", "connection refused")
	bad(t, compile(t, raw), "connection refused")
}

// dnsServer answers each question over UDP and TCP by what f gives of it.
func dnsServer(t testing.TB, f func(network string, question []byte) []byte) (host string) {
	t.Helper()
	host = loopback()
	conn, err := net.ListenPacket("udp", host+":5353")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", host+":5353")
	if err != nil {
		t.Fatal(err)
	}
	udp, tcp := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(udp)
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := f("udp", buf[:n]); answer != nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	go func() {
		defer close(tcp)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			length, err := readLength(c)
			question := make([]byte, length)
			if err == nil {
				_, err = io.ReadFull(c, question)
			}
			if err == nil {
				_, _ = c.Write(f("tcp", question))
				_, _ = io.Copy(io.Discard, c)
			}
			c.Close()
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		l.Close()
		<-udp
		<-tcp
	})
	return host
}

// reply makes the answer to a question with records of these types.
func reply(t testing.TB, question []byte, change func(*dnsmessage.Message), types ...dnsmessage.Type) []byte {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		t.Error(err)
		return nil
	}
	m.Response = true
	for _, kind := range types {
		r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 60}}
		switch kind {
		case dnsmessage.TypeA:
			r.Body = &dnsmessage.AResource{A: [4]byte{10, 0, 0, 1}}
		case dnsmessage.TypeAAAA:
			r.Body = &dnsmessage.AAAAResource{}
		default:
			r.Body = &dnsmessage.UnknownResource{Type: kind, Data: []byte("something")}
		}
		m.Answers = append(m.Answers, r)
	}
	if change != nil {
		change(&m)
	}
	answer, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return answer
}

// What a server, or something else at its port, can say.
func TestDNSAnswers(t *testing.T) {
	const garbage = "what came is no answer to the question: "
	long := func(answer []byte) []byte {
		return append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)
	}
	truncated := func(m *dnsmessage.Message) { m.Truncated = true; m.Answers = nil }
	for _, c := range []struct {
		name   string
		answer func(network string, question []byte) []byte
		want   string
	}{
		{"behind an alias", func(_ string, q []byte) []byte { return reply(t, q, nil, dnsmessage.Type(65), dnsmessage.TypeA) }, ""},
		{"in other letters", func(_ string, q []byte) []byte {
			return reply(t, q, func(m *dnsmessage.Message) {
				m.Questions[0].Name = dnsmessage.MustNewName(strings.ToUpper(m.Questions[0].Name.String()))
			}, dnsmessage.TypeA)
		}, ""},
		{"only other types", func(_ string, q []byte) []byte { return reply(t, q, nil, dnsmessage.Type(65)) }, "has no address"},
		{"cut short, whole by TCP", func(network string, q []byte) []byte {
			if network == "tcp" {
				return long(reply(t, q, nil, dnsmessage.TypeA))
			}
			return reply(t, q, truncated)
		}, ""},
		{"cut short for ever", func(network string, q []byte) []byte {
			if network == "tcp" {
				return long(reply(t, q, truncated))
			}
			return reply(t, q, truncated)
		}, "cut short by TCP, too"},
		{"of tomorrow", func(_ string, q []byte) []byte {
			return reply(t, q, func(m *dnsmessage.Message) { m.RCode = 11 })
		}, "response code 11"},
		{"of another name", func(_ string, q []byte) []byte {
			return reply(t, q, func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("other.test.") }, dnsmessage.TypeA)
		}, "what came answers another question"},
		{"of another type", func(_ string, q []byte) []byte {
			return reply(t, q, func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeMX }, dnsmessage.TypeA)
		}, "what came answers another question"},
		{"of another time", func(_ string, q []byte) []byte {
			return reply(t, q, func(m *dnsmessage.Message) { m.ID++ }, dnsmessage.TypeA)
		}, garbage},
		{"the question itself", func(_ string, q []byte) []byte { return q }, garbage},
		{"text", func(string, []byte) []byte { return []byte("hello") }, garbage + `"hello"`},
		{"nothing", func(string, []byte) []byte { return []byte{} }, garbage + `""`},
		{"without a question", func(_ string, q []byte) []byte {
			return reply(t, q, func(m *dnsmessage.Message) { m.Questions = nil }, dnsmessage.TypeA)
		}, "what came answers another question"},
		{"half an answer", func(_ string, q []byte) []byte {
			whole := reply(t, q, nil, dnsmessage.TypeA)
			return whole[:len(whole)-3]
		}, "malformed answer: "},
		{"half an answer by TCP", func(network string, q []byte) []byte {
			if network == "tcp" {
				return []byte{0, 50, 'x'}
			}
			return reply(t, q, truncated)
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := dnsServer(t, c.answer)
			leavesNothing(t)
			p := compile(t, "dns_check 'www.test', '"+host+"', 5353")
			switch {
			case c.name == "half an answer by TCP":
				hangs(t, p)
			case c.want == "":
				good(t, p)
			default:
				bad(t, p, "dns "+host+":5353: www.test. ", c.want)
			}
		})
	}
}

func TestDNSHangs(t *testing.T) {
	silent, reached := udpServer(t, func([]byte) [][]byte { return nil })
	leavesNothing(t)
	p := compile(t, "dns_check 'www.test', '127.0.0.1', "+itoa(silent))
	cancelled(t, p, reached)
	hangs(t, p)
}

// FuzzDNSAnswer reads any octets as an answer.
func FuzzDNSAnswer(f *testing.F) {
	q := dnsmessage.Question{Name: dnsmessage.MustNewName("www.test."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	question, err := (&dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{q}}).Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(reply(f, question, nil, dnsmessage.TypeA))
	f.Add(reply(f, question, nil, dnsmessage.TypeAAAA, dnsmessage.Type(65)))
	f.Fuzz(func(t *testing.T, answer []byte) {
		there, truncated, err := readDNS(answer, 7, q)
		if there && (err != nil || truncated || len(answer) < 12 || answer[1] != 7 || answer[3]&15 != 0 || answer[7] == 0 && answer[6] == 0) {
			t.Errorf("%q has an address: %v %v", answer, truncated, err)
		}
	})
}
