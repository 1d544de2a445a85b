package nameserver

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// mirror is a resolver that sends every question on to somebody, with an OPT record
// of its own as many do, and counts them.
func mirror(t *testing.T, to func() netip.AddrPort, asked *atomic.Int64) netip.AddrPort {
	k, err := listen(loopback, 0)
	fatal(t, err)
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		if !strings.Contains(strings.ToLower(r.Question[0].Name), loopLabel) {
			asked.Add(1)
		}
		q := r.Copy()
		if q.IsEdns0() == nil {
			q.SetEdns0(1232, true)
		}
		q.Id = dns.Id()
		answer, _, err := new(dns.Client).Exchange(q, to().String())
		if err != nil {
			return
		}
		answer.Id = r.Id
		answer.Question = r.Question
		w.WriteMsg(answer)
	})
	up := make(chan struct{})
	s := &dns.Server{PacketConn: k.udp, Handler: handler, NotifyStartedFunc: func() { close(up) }}
	go s.ActivateAndServe()
	<-up
	t.Cleanup(func() { s.Shutdown(); k.tcp.Close() })
	return k.addr
}

// TestLoop: a resolver that sends our questions back to us is found out and not
// asked, so that each question of a client makes two packets at most, and another
// resolver is asked instead.
func TestLoop(t *testing.T) {
	for _, good := range []bool{false, true} {
		var self atomic.Pointer[netip.AddrPort]
		var asked atomic.Int64
		back := mirror(t, func() netip.AddrPort { return *self.Load() }, &asked)
		to := []netip.AddrPort{back}
		want := dns.RcodeServerFailure
		if good {
			to = append(to, upstream(t, func(w dns.ResponseWriter, r *dns.Msg) { answerA(w, r, "192.0.2.1") }))
			want = dns.RcodeSuccess
		}
		log := &logBuffer{}
		s := newServer(t, Config{Bind: []netip.Addr{loopback}, Resolvers: via(to...), Log: log.logger()})
		fatal(t, s.Listen())
		self.Store(&s.Addrs()[0])
		run(t, s)
		const n = 100
		for i := range n {
			q := question("example.org.", dns.TypeA)
			q.SetEdns0(1232, false)
			q.Question[0].Name = string(rune('a'+i%26)) + q.Question[0].Name
			r := ask(t, "udp", s.Addrs()[0], q)
			if r.Rcode != want {
				t.Errorf("%v", r)
			}
			if i == n-1 && !good && ede(r) != loops.text {
				t.Errorf("the reason: %q", ede(r))
			}
		}
		if got := asked.Load(); got > n {
			t.Errorf("%d questions went to the one who sends them back, %d were asked", got, n)
		}
		if got := log.String(); strings.Count(got, "sends our questions back to us") != 1 || !strings.Contains(got, back.String()) {
			t.Errorf("log:\n%s", got)
		}
	}
}

// TestLoopLater: one that begins to send them back while we run is found out by
// its own host's asking.
func TestLoopLater(t *testing.T) {
	var self atomic.Pointer[netip.AddrPort]
	var asked atomic.Int64
	var looping atomic.Bool
	quiet := upstream(t, func(w dns.ResponseWriter, r *dns.Msg) { answerA(w, r, "192.0.2.1") })
	back := mirror(t, func() netip.AddrPort {
		if looping.Load() {
			return *self.Load()
		}
		return quiet
	}, &asked)
	s := newServer(t, Config{Bind: []netip.Addr{loopback}, Resolvers: via(back)})
	fatal(t, s.Listen())
	self.Store(&s.Addrs()[0])
	run(t, s)
	if r := ask(t, "udp", s.Addrs()[0], question("before.example.", dns.TypeA)); len(r.Answer) != 1 {
		t.Fatalf("%v", r)
	}
	looping.Store(true)
	s.forwarder.mu.Lock()
	for _, r := range s.forwarder.targets {
		r.loop.next = 0 // the time between two looks has gone by
	}
	s.forwarder.mu.Unlock()
	asked.Store(0)
	const n = 50
	for i := range n {
		if r := ask(t, "udp", s.Addrs()[0], question("after.example.", dns.TypeA)); r.Rcode != dns.RcodeServerFailure {
			t.Fatalf("%v", r)
		}
		if got := asked.Load(); i == 0 && got > 2 {
			t.Errorf("the first question made %d packets", got)
		}
	}
	if got := asked.Load(); got > n {
		t.Errorf("%d questions went to the one who sends them back, %d were asked", got, n)
	}
}
