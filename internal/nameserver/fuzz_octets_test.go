package nameserver

import (
	"bytes"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// FuzzOctets gives any octets to what reads messages without the library: the search
// for cookies and padding in questions, and what pads, counts and cuts replies.
// Nothing panics; a padded reply says the same in another length, one that is cut is
// no longer than the question and says nothing but TC.
func FuzzOctets(f *testing.F) {
	addKept(f)
	for _, m := range []*dns.Msg{
		question("web.", dns.TypeA), question("WEB.corp.example.", dns.TypeAAAA), question("nothing.corp.example.", dns.TypeANY),
		question("example.org.", dns.TypeMX), question("corp.example.", dns.TypeNS), question(`a\.b\000\\.corp.example.`, dns.TypeA), question(".", dns.TypeNS),
	} {
		f.Add(packed(f, m))
		c := m.Copy()
		with(nsid(""), cookie(hisCookie+hisCookie+hisCookie), &dns.EDNS0_PADDING{Padding: make([]byte, 9)})(c)
		raw := packed(f, c)
		f.Add(raw)
		f.Add(raw[:len(raw)-3])
	}
	f.Add([]byte{})
	s := newServer(f, Config{Rules: Rules{Domain: domain, Host: "server-01"}})
	l := newLimiter(1, 1)
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		wantsPadding(raw)
		s.hasCookie(raw, friend.Addr(), time.Now())
		reply := s.handle(raw, nil, friend, false).reply
		if !bytes.Equal(raw, before) {
			t.Fatal("the question was changed")
		}
		if reply == nil {
			return
		}
		l.decide(stranger.Addr(), reply, time.Unix(1, 0))
		var was, is dns.Msg
		if err := was.Unpack(reply); err != nil {
			t.Fatal(err)
		}
		long := padded(bytes.Clone(reply))
		if err := is.Unpack(long); err != nil {
			t.Fatalf("padded: %v: %x", err, long)
		}
		if was.IsEdns0() != nil {
			if len(long)%paddingBlock != 0 {
				t.Fatalf("padded to %d octets", len(long))
			}
			checkReply(t, raw, long, true)
			options := is.IsEdns0().Option
			is.IsEdns0().Option = options[:len(options)-1]
		}
		if was.String() != is.String() {
			t.Fatalf("padded, it says\n%v\nand not\n%v", &is, &was)
		}
		short := cut(bytes.Clone(reply))
		if err := is.Unpack(short); err != nil {
			t.Fatalf("cut: %v: %x", err, short)
		}
		if len(short) > len(raw) || !is.Truncated || len(is.Answer)+len(is.Ns) > 0 || (is.IsEdns0() == nil) != (was.IsEdns0() == nil) {
			t.Fatalf("cut, it is %v", &is)
		}
		if was.Rcode != dns.RcodeFormatError && was.Opcode == dns.OpcodeQuery && (len(is.Question) != 1 || is.Question[0] != was.Question[0]) {
			t.Fatalf("cut, its question is %v", is.Question)
		}
	})
}
