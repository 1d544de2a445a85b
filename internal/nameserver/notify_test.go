package nameserver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"murakumo/internal/catalog"
)

// told is a secondary under test: it notes when it was told of which serial, and
// acknowledges while it is well.
type told struct {
	mu    sync.Mutex // guards what follows
	begin time.Time
	notes []string
	well  bool
	code  int
}

func (x *told) exchange(ctx context.Context, _ netip.AddrPort, m *dns.Msg) (*dns.Msg, error) {
	x.mu.Lock()
	well, code := x.well, x.code
	x.notes = append(x.notes, fmt.Sprintf("%v:%d", time.Since(x.begin), m.Answer[0].(*dns.SOA).Serial))
	x.mu.Unlock()
	if !well {
		<-ctx.Done()
		return nil, errors.New("no acknowledgement")
	}
	r := new(dns.Msg).SetReply(m)
	r.Rcode = code
	return r, nil
}

func (x *told) become(well bool, code int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.begin, x.well, x.code = time.Now(), well, code
}

func (x *told) since() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := strings.Join(x.notes, " ")
	x.notes = nil
	return s
}

// TestNotifyPace: of a change at once, of many together, once a second at most;
// who does not acknowledge is told again, later and later, until he does.
func TestNotifyPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logBuffer{}
		at := &told{begin: time.Now(), well: true}
		x := &secondary{exchange: at.exchange, log: log.logger(), news: make(chan *dns.SOA, 1)}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go x.run(ctx)
		rules := Rules{Domain: domain}
		tell := func(serial uint32) {
			soa := rules.soa(table(t, house))
			soa.Serial = serial
			x.tell(soa)
			synctest.Wait()
		}
		step := func(what, want string) {
			t.Helper()
			if got := at.since(); got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}

		tell(1)
		step("at once", "0s:1")
		for serial := uint32(2); serial < 10; serial++ {
			tell(serial)
		}
		time.Sleep(time.Second - time.Nanosecond)
		synctest.Wait()
		step("not yet again", "")
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		step("of eight changes together", "1s:9")
		time.Sleep(time.Hour)
		synctest.Wait()
		tell(9)
		step("nothing new", "")
		tell(10)
		step("at once again", "1h0m1s:10")

		time.Sleep(time.Minute)
		at.become(false, 0)
		tell(11)
		time.Sleep(2500 * time.Millisecond)
		tell(12)
		time.Sleep(4*time.Minute + 3500*time.Millisecond)
		synctest.Wait()
		step("no acknowledgement", "0s:11 1s:11 3s:12 4s:12 6s:12 10s:12 18s:12 34s:12 1m6s:12 2m6s:12 3m6s:12 4m6s:12")
		at.become(true, dns.RcodeNotAuth)
		time.Sleep(time.Minute)
		synctest.Wait()
		step("a refusal is none", "1m0s:12")
		at.become(true, dns.RcodeSuccess)
		time.Sleep(time.Hour)
		synctest.Wait()
		step("until there is one", "1m0s:12")
		tell(13)
		tell(14)
		time.Sleep(time.Hour)
		synctest.Wait()
		step("and then as before", "1h0m0s:13 1h0m1s:14")
		at.become(false, 0)
		tell(15)
		time.Sleep(3*time.Minute + 10*time.Second)
		step("no acknowledgement again", "0s:15 1s:15 3s:15 7s:15 15s:15 31s:15 1m3s:15 2m3s:15 3m3s:15")
		tell(16)
		time.Sleep(100 * time.Millisecond)
		tell(17)
		time.Sleep(22 * time.Second)
		step("what has changed is told at once", "3m10s:16 3m11s:17 3m12s:17 3m14s:17 3m18s:17 3m26s:17")
		at.become(true, dns.RcodeSuccess)
		tell(18)
		step("and heard", "0s:18")
		if n := strings.Count(log.String(), "\n"); n != 4 || !strings.Contains(log.String(), "does not acknowledge") || !strings.Contains(log.String(), "again") {
			t.Errorf("log:\n%s", log)
		}
	})
}

// TestNotify: over real sockets; a change of the table, and of who is to know.
func TestNotify(t *testing.T) {
	notes := make(chan *dns.Msg, 100)
	second := func(host string, spoil func(m, r *dns.Msg) *dns.Msg) netip.AddrPort {
		return upstreamAt(t, netip.MustParseAddr(host), func(w dns.ResponseWriter, m *dns.Msg) {
			r := new(dns.Msg).SetReply(m)
			r.Authoritative = true
			if spoil != nil {
				w.WriteMsg(spoil(m, r.Copy()))
			}
			m.Extra = append(m.Extra, &dns.TXT{Txt: []string{w.RemoteAddr().String()}})
			notes <- m
			w.WriteMsg(r)
		})
	}
	// One of them is under attack: what is no acknowledgement comes first.
	a := second("127.0.0.1", func(_, r *dns.Msg) *dns.Msg {
		r.Id++
		r.Rcode = dns.RcodeRefused
		return r
	})
	b := second("127.0.0.1", nil)

	c := catalog.New(catalog.Options{Self: netip.MustParseAddr("10.0.0.1")})
	put := func(name string) uint32 {
		return uint32(c.Update(func(own *catalog.Edit) {
			fatal(t, own.Put(catalog.Record{Name: name, Addr: netip.MustParseAddr("10.0.0.1"), TTL: 60, Priority: catalog.Master, Weight: 1, Active: true}))
		}).Serial())
	}
	serial := put("one")
	log := &logBuffer{}
	rules := Rules{Domain: domain, MaxAnswers: 8, Host: "server-01", Notify: []netip.AddrPort{a}}
	s := New(Config{Bind: []netip.Addr{netip.MustParseAddr("127.0.0.9")}, Rules: rules, Log: log.logger()}, c.View)
	start(t, s)

	next := func(want uint32) *dns.Msg {
		t.Helper()
		select {
		case m := <-notes:
			soa, ok := m.Answer[0].(*dns.SOA)
			if m.Opcode != dns.OpcodeNotify || m.Response || !m.Authoritative || m.Question[0] != (dns.Question{Name: domain + ".", Qtype: dns.TypeSOA, Qclass: dns.ClassINET}) ||
				!ok || soa.Serial != want {
				t.Fatalf("told\n%v\nwant serial %d", m, want)
			}
			if from := m.Extra[0].(*dns.TXT).Txt[0]; !strings.HasPrefix(from, "127.0.0.9:") {
				t.Fatalf("from %s, not from where we answer", from)
			}
			return m
		case <-time.After(patience):
			t.Fatalf("nobody was told of serial %d\n%s", want, log)
		}
		return nil
	}
	next(serial) // of the zone as it is
	next(put("two"))
	rules.Notify = []netip.AddrPort{b}
	s.Change(rules, nil)
	next(uint32(c.View().Serial())) // b alone
	next(put("three"))
	rules.Domain = ""
	s.Change(rules, nil)
	put("four")
	rules.Domain, rules.Notify = domain, []netip.AddrPort{a, b}
	s.Change(rules, nil)
	next(uint32(c.View().Serial()))
	next(uint32(c.View().Serial()))
	if strings.Contains(log.String(), "NOTIFY") {
		t.Errorf("log:\n%s", log)
	}
}

// TestNotifyNobody: a secondary that is not there is told again, and the end of
// the server does not wait for it.
func TestNotifyNobody(t *testing.T) {
	k, err := listen(loopback, 0)
	fatal(t, err)
	k.udp.Close()
	k.tcp.Close()
	log := &logBuffer{}
	s := newServer(t, Config{Bind: []netip.Addr{loopback}, Log: log.logger(), Rules: Rules{Domain: domain, Notify: []netip.AddrPort{k.addr}}})
	start(t, s)
	for end := time.Now().Add(patience); !strings.Contains(log.String(), "the secondary does not acknowledge NOTIFY"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("log: %s", log)
		}
	}
}
