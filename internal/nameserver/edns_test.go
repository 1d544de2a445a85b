package nameserver

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"murakumo/internal/catalog"
)

const hisCookie = "0123456789abcdef"

// with gives an option of a question.
func with(options ...dns.EDNS0) func(*dns.Msg) {
	return func(m *dns.Msg) { m.SetEdns0(1232, false).IsEdns0().Option = options }
}

func cookie(hex string) dns.EDNS0 {
	return &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: hex}
}

func nsid(hex string) dns.EDNS0 { return &dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: hex} }

// about changes what a question is about.
func about(name string, qtype uint16, then func(*dns.Msg)) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.Question[0].Name, m.Question[0].Qtype = name, qtype
		then(m)
	}
}

// optionsOf puts the options of a reply into words; of a cookie only whether it
// has the client's.
func optionsOf(t *testing.T, raw []byte) string {
	t.Helper()
	var m dns.Msg
	fatal(t, m.Unpack(raw))
	opt := m.IsEdns0()
	if opt == nil {
		return "none"
	}
	if opt.Version() != 0 || opt.Hdr.Name != "." {
		t.Errorf("OPT record: %v", opt)
	}
	words := []string{}
	for _, o := range opt.Option {
		switch o := o.(type) {
		case *dns.EDNS0_COOKIE:
			if len(o.Cookie) != 2*(clientCookie+serverCookie) || !strings.HasPrefix(o.Cookie, hisCookie) {
				t.Errorf("cookie %s", o.Cookie)
			}
			words = append(words, "cookie")
		case *dns.EDNS0_NSID:
			id, err := hex.DecodeString(o.Nsid)
			fatal(t, err)
			words = append(words, "nsid="+string(id))
		case *dns.EDNS0_TCP_KEEPALIVE:
			words = append(words, fmt.Sprintf("keepalive=%d", o.Timeout))
		case *dns.EDNS0_EDE:
			words = append(words, strings.TrimSuffix(fmt.Sprintf("ede=%d:%s", o.InfoCode, o.ExtraText), ":"))
		default:
			words = append(words, o.String())
		}
	}
	return strings.Join(words, " ")
}

// TestEDNS is about the options of questions and of replies.
func TestEDNS(t *testing.T) {
	var (
		local    = newServer(t, Config{Rules: Rules{Domain: domain, Host: "server-01"}})
		forwards = newServer(t, Config{Rules: Rules{Domain: domain, Host: "server-01"}, Resolvers: resolver1})
		closed   = newServer(t, Config{Resolvers: resolver1, Rules: Rules{
			AllowQuery:     []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
			AllowRecursion: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")},
		}})
		plain = with()
		other = &dns.EDNS0_LOCAL{Code: 65001, Data: []byte("x")}
	)
	tests := []struct {
		why  string
		s    *Server
		edit func(*dns.Msg)
		from netip.AddrPort
		tcp  bool
		want string // the code
		opts string
	}{
		{"RFC 6891 §7 no OPT, no OPT, whatever there is to say", local, about("asleep.", dns.TypeA, func(*dns.Msg) {}), friend, false, "NOERROR", "none"},
		{"RFC 6891 §6.1.2 an option that nobody knows", local, with(other), friend, false, "NOERROR", ""},
		{"RFC 7830 §4 padding, and RFC 7871 §7.2.1 a subnet: not ours to answer", local,
			with(&dns.EDNS0_PADDING{Padding: make([]byte, 64)}, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: []byte{192, 0, 2, 0}}), friend, false, "NOERROR", ""},

		{"RFC 5001 §2.1 NSID for who asks for it", local, with(nsid("")), friend, false, "NOERROR", "nsid=server-01.corp.example"},
		{"RFC 5001 §2.1 what he sends there is nothing", local, with(nsid("beef")), friend, false, "NOERROR", "nsid=server-01.corp.example"},
		{"RFC 5001 §2.1 also with a refusal", local, about("example.org.", dns.TypeA, with(nsid(""))), stranger, true, "REFUSED", "nsid=server-01.corp.example ede=20"},
		{"RFC 6891 §6.1.3 no option of a version that we do not know", local, func(m *dns.Msg) {
			with(nsid(""), cookie(hisCookie))(m)
			m.IsEdns0().SetVersion(1)
		}, friend, false, "BADVERS", ""},

		{"RFC 7873 §5.2.3 a client's cookie gets ours", local, with(cookie(hisCookie)), friend, false, "NOERROR", "cookie"},
		{"RFC 7873 §5.2 the first of two counts", local, with(cookie(hisCookie), cookie("ff")), friend, false, "NOERROR", "cookie"},
		{"RFC 7873 §5.2.4 one that is not ours", local, with(cookie(hisCookie + strings.Repeat("00", 16))), friend, false, "BADCOOKIE", "cookie"},
		{"RFC 7873 §5.2.4 of another length", local, with(cookie(hisCookie + strings.Repeat("00", 32))), friend, false, "BADCOOKIE", "cookie"},
		{"RFC 7873 §5.2.3 over TCP it does not matter", local, with(cookie(hisCookie + strings.Repeat("00", 16))), friend, true, "NOERROR", "cookie"},
		{"RFC 7873 §5.2.2 too short", local, with(cookie("0123")), friend, false, "FORMERR", ""},
		{"RFC 7873 §5.2.2 between the lengths", local, with(cookie(hisCookie + "00")), friend, false, "FORMERR", ""},
		{"RFC 7873 §5.2.2 too long", local, with(cookie(hisCookie + strings.Repeat("00", 33))), friend, false, "FORMERR", ""},

		{"RFC 7828 §3.1 how long a connection may be idle", local, with(&dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE}), friend, true, "NOERROR", "keepalive=100"},
		{"RFC 7828 §3.2.1 over UDP there is none", local, with(&dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE}), friend, false, "NOERROR", ""},

		{"RFC 8914 §4.1 no healthy record", local, about("asleep.", dns.TypeA, plain), friend, false, "NOERROR", "ede=0:no healthy record"},
		{"RFC 8914 §4.1 all hosts of the name dead", local, about("ghost.", dns.TypeAAAA, plain), friend, false, "NOERROR", "ede=0:the hosts of this name are gone"},
		{"RFC 8914 §2 nothing to explain: there is no such type", local, about("web.", dns.TypeMX, plain), friend, false, "NOERROR", ""},
		{"RFC 8914 §2 nor of this family", local, about("db.", dns.TypeAAAA, plain), friend, false, "NOERROR", ""},
		{"RFC 8914 §4.19 no open resolver", forwards, about("example.org.", dns.TypeA, plain), stranger, false, "REFUSED", "ede=18:allow-recursion does not have this client"},
		{"RFC 8914 §4.19 not in allow-query", closed, about("web.", dns.TypeA, plain), stranger, false, "REFUSED", "ede=18:allow-query does not have this client"},
		{"P5 in allow-query", closed, about("web.", dns.TypeA, plain), friend, false, "NOERROR", ""},
		{"allow-query beats allow-recursion", closed, about("example.org.", dns.TypeA, plain), stranger, true, "REFUSED", "ede=18:allow-query does not have this client"},
		{"RFC 8914 §4.21 asked without recursion", forwards, about("example.org.", dns.TypeA, func(m *dns.Msg) {
			plain(m)
			m.RecursionDesired = false
		}), stranger, false, "REFUSED", "ede=20"},
		{"RFC 8914 §4.21 no resolver", local, about("example.org.", dns.TypeA, plain), friend, false, "REFUSED", "ede=20"},
		{"RFC 8914 §4.22 a type that is none", local, about("web.", dns.TypeTKEY, plain), friend, false, "REFUSED", "ede=21"},
		{"RFC 8914 §4.22 class CH", local, func(m *dns.Msg) {
			plain(m)
			m.Question[0].Qclass = dns.ClassCHAOS
		}, friend, false, "REFUSED", "ede=21"},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			v := tt.s.handle(edit(t, tt.edit), nil, tt.from, tt.tcp)
			if v.reply == nil {
				t.Fatal("no reply")
			}
			if got, _, _ := strings.Cut(describe(t, v.reply), " "); got != tt.want {
				t.Errorf("code %s, want %s", got, tt.want)
			}
			if got := optionsOf(t, v.reply); got != tt.opts {
				t.Errorf("options %q, want %q", got, tt.opts)
			}
		})
	}
}

// TestCookie: ours is taken back from the client that it was given to, for an
// hour, and from no other (RFC 7873 §5.2.4, RFC 9018 §4.3).
func TestCookie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Config{})
		rcode := func(from netip.AddrPort, full string) int {
			var m dns.Msg
			fatal(t, m.Unpack(s.handle(edit(t, with(cookie(full))), nil, from, false).reply))
			return m.Rcode
		}
		given := func() string {
			var m dns.Msg
			fatal(t, m.Unpack(s.handle(edit(t, with(cookie(hisCookie))), nil, friend, false).reply))
			return m.IsEdns0().Option[0].(*dns.EDNS0_COOKIE).Cookie
		}
		ours := given()
		if n := rcode(friend, ours); n != dns.RcodeSuccess {
			t.Errorf("taken back: %s", dns.RcodeToString[n])
		}
		if n := rcode(netip.AddrPortFrom(friend.Addr(), 5353), ours); n != dns.RcodeSuccess {
			t.Errorf("from another port: %s", dns.RcodeToString[n])
		}
		for i := 0; i < len(ours); i += 2 { // every octet counts
			b, err := hex.DecodeString(ours)
			fatal(t, err)
			b[i/2] ^= 1
			if n := rcode(friend, hex.EncodeToString(b)); n != dns.RcodeBadCookie {
				t.Errorf("octet %d changed: %s", i/2, dns.RcodeToString[n])
			}
		}
		if n := rcode(stranger, ours); n != dns.RcodeBadCookie {
			t.Errorf("from another address: %s", dns.RcodeToString[n])
		}
		time.Sleep(cookieLife)
		if n := rcode(friend, ours); n != dns.RcodeSuccess {
			t.Errorf("after an hour: %s", dns.RcodeToString[n])
		}
		time.Sleep(time.Second)
		if n := rcode(friend, ours); n != dns.RcodeBadCookie {
			t.Errorf("after more than an hour: %s", dns.RcodeToString[n])
		}
		if n := rcode(friend, given()); n != dns.RcodeSuccess {
			t.Errorf("a new one: %s", dns.RcodeToString[n])
		}
	})
}

// TestOptionsOfForwarded: a reply from a resolver, from the cache and for want of
// any has the client's options like one from the table.
func TestOptionsOfForwarded(t *testing.T) {
	ask := edit(t, about("example.org.", dns.TypeA, with(cookie(hisCookie), nsid(""))))
	answered := true
	s := newServer(t, Config{Rules: Rules{Domain: domain, Host: "server-01", Cache: true}, Resolvers: resolver1})
	s.forwarder.send = func(q *sending) error {
		if !answered {
			return context.DeadlineExceeded
		}
		var m dns.Msg
		fatal(t, m.Unpack(q.packet[:q.size]))
		raw := packed(t, withA(&m, "192.0.2.1"))
		s.wg.Go(func() {
			o := s.forwarder.outboxes.Get().(*outbox)
			s.forwarder.answered(q.to, q.ticket, q.at, raw, o)
			s.forwarder.flush(o)
		})
		return nil
	}
	relayed := func(raw []byte) []byte {
		var reply []byte
		if b := s.forward(s.handle(raw, nil, friend, false).forward, replyFunc(func(b []byte) { reply = bytes.Clone(b) }), nil); b != nil {
			reply = b
		}
		s.wg.Wait()
		return reply
	}
	const options = "cookie nsid=server-01.corp.example"
	if got := optionsOf(t, relayed(ask)); got != options {
		t.Errorf("from a resolver: %q", got)
	}
	cached := s.handle(ask, nil, friend, false).reply
	if cached == nil {
		t.Fatal("not in the cache")
	}
	if got := optionsOf(t, cached); got != options {
		t.Errorf("from the cache: %q", got)
	}
	answered = false
	other := edit(t, about("example.net.", dns.TypeA, with(cookie(hisCookie))))
	if got := optionsOf(t, relayed(other)); got != "cookie ede=22:no resolver answered in time" {
		t.Errorf("nobody answered: %q", got)
	}
	s.forwarder.most = 0 // no place for anybody
	if got := optionsOf(t, relayed(other)); got != "cookie ede=0:too many questions wait for the resolvers" {
		t.Errorf("too many: %q", got)
	}
}

// TestOptionsFit: options make no reply longer than the client takes; when room is
// short the cookie is what stays.
func TestOptionsFit(t *testing.T) {
	long := strings.Repeat(strings.Repeat("d", 60)+".", 3) + "example"
	s := newServer(t, Config{Rules: Rules{Domain: long, Host: strings.Repeat("h", 60)}})
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "10.0.1.%d 10.0.1.%d web 60 master 100 active\n", i, i)
	}
	many := table(t, b.String())
	s.view = func() *catalog.View { return many }
	s.policy.Load().rules.MaxAnswers = 100
	cut, whole := 0, 0
	for size := uint16(512); size < 1232; size += 8 {
		for _, name := range []string{"web.", strings.Repeat("n", 60) + "." + long + "."} {
			raw := edit(t, about(name, dns.TypeA, func(m *dns.Msg) {
				with(nsid(""), cookie(hisCookie))(m)
				m.IsEdns0().SetUDPSize(size)
			}))
			reply := s.handle(raw, nil, friend, false).reply
			checkReply(t, raw, reply, false)
			got := optionsOf(t, reply)
			if len(reply) > int(size) || !strings.HasPrefix(got, "cookie") {
				t.Fatalf("%s: %d octets of %d: %s", name, len(reply), size, got)
			}
			if strings.Contains(got, "nsid") {
				whole++
			} else {
				cut++
			}
		}
	}
	if cut == 0 || whole == 0 {
		t.Errorf("%d replies with NSID, %d without: this tests nothing", whole, cut)
	}
}
