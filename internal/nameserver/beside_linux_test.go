package nameserver

import (
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// The benchmarks of this file are of a server in a process of its own, on a CPU of its own:
// see apart_linux_test.go.

// usualRate is how many questions a second are asked where their number is not what is
// measured.
const usualRate = 10_000

// report tells how long answers took that were asked for on a schedule.
func (o *outcome) report(b *testing.B, what string) (p99 time.Duration) {
	p99 = percentile(o.took, 99)
	b.ReportMetric(micros(percentile(o.took, 50)), "p50-"+what+"-µs")
	b.ReportMetric(micros(p99), "p99-"+what+"-µs")
	b.ReportMetric(micros(percentile(o.held, 99)), "p99-"+what+"-from-sent-µs")
	b.ReportMetric(micros(percentile(o.late, 99)), "p99-"+what+"-sent-late-µs")
	b.ReportMetric(100-100*float64(len(o.took))/float64(o.asked), "lost-"+what+"-%")
	return p99
}

// add takes in what came of others.
func (o *outcome) add(p *outcome) {
	o.asked += p.asked
	o.took, o.held, o.late = append(o.took, p.took...), append(o.held, p.held...), append(o.late, p.late...)
}

// withoutCollection keeps the collector from who asks.
func withoutCollection() (restore func()) {
	before := debug.SetGCPercent(-1)
	return func() { debug.SetGCPercent(before) }
}

// BenchmarkBesideTCP asks over UDP for a name of the table, 10,000 times a second on a
// schedule, without and with ten thousand TCP connections that are silent or send an octet a
// second; one and the same server. The first three are with as many connections and as long
// as they like, the last with the limits as they are: who is cut off comes again within a
// second.
func BenchmarkBesideTCP(b *testing.B) {
	const crowdSize = 10_000
	roomy := setting{Conns: 2 * crowdSize, Idle: time.Hour}
	for _, tt := range []struct {
		name string
		set  setting
		drip int
	}{
		{"idle", roomy, 0},
		{"half dribbling", roomy, 2},
		{"all dribbling", roomy, 1},
		{"half dribbling, limits as they are", setting{}, 2},
	} {
		b.Run(tt.name, func(b *testing.B) {
			s := serveApart(b, tt.set, "")
			defer withoutCollection()()
			g, raw := newGenerator(b, s.at), packed(b, question("one.corp.example.", dns.TypeA))
			one := func(int) []byte { return raw }
			g.pace(usualRate, time.Second, one, nil)
			without, with := new(outcome), new(outcome)
			var usedWithout, usedWith time.Duration
			closed, seconds := 0, 0.0
			const turn = 3 * time.Second
			for b.Loop() {
				at := s.cpu(b)
				without.add(g.pace(usualRate, turn, one, nil))
				usedWithout += s.cpu(b) - at
				c := gather(b, s.at, crowdSize, tt.drip)
				g.pace(usualRate, time.Second, one, c.turn)
				c.closed = 0
				at = s.cpu(b)
				with.add(g.pace(usualRate, turn, one, c.turn))
				usedWith += s.cpu(b) - at
				closed += c.closed
				seconds += turn.Seconds()
				c.leave()
				g.pace(usualRate, time.Second, one, nil)
			}
			before, after := without.report(b, "without"), with.report(b, "with")
			b.ReportMetric(float64(after)/float64(before), "p99-ratio")
			b.ReportMetric(float64(closed)/seconds, "closed/s")
			b.ReportMetric(100*usedWithout.Seconds()/seconds, "cpu-without-%")
			b.ReportMetric(100*usedWith.Seconds()/seconds, "cpu-with-%")
		})
	}
}

// BenchmarkLocalUnderFlood asks for a name of the table, 10,000 times a second on a schedule,
// without and with 20,000 other questions a second that are to be forwarded to resolvers
// that are silent.
func BenchmarkLocalUnderFlood(b *testing.B) {
	const floodRate = 20_000
	mute := func() netip.AddrPort {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		fatal(b, err)
		b.Cleanup(func() { c.Close() })
		return c.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	s := serveApart(b, setting{Resolvers: []netip.AddrPort{mute(), mute()}}, "")
	defer withoutCollection()()
	g, other := newGenerator(b, s.at), newGenerator(b, s.at)
	raw := packed(b, question("one.corp.example.", dns.TypeA))
	one := func(int) []byte { return raw }
	g.pace(usualRate, time.Second, one, nil)
	foreign := packed(b, question("host-00000000.example.", dns.TypeA))
	var due, asked int64
	refused := new(outcome)
	flood := func(now int64) {
		if now < due {
			return
		}
		due = max(due, now-int64(10*time.Millisecond)) + int64(time.Second)/floodRate
		copy(foreign[headerSize+1+len("host-"):], fmt.Appendf(nil, "%08d", asked))
		other.put(0, foreign, now, now)
		other.d.send(1)
		asked++
		refused.took, refused.held = refused.took[:0], refused.held[:0]
		other.receive(refused)
	}
	without, with := new(outcome), new(outcome)
	asked = 0
	for b.Loop() {
		without.add(g.pace(usualRate, 3*time.Second, one, nil))
		asked, due = 0, 0
		with.add(g.pace(usualRate, 3*time.Second, one, flood))
	}
	without.report(b, "without")
	with.report(b, "with")
	b.ReportMetric(float64(asked)/3, "flood/s")
}

// BenchmarkServed is the CPU time that a server takes for a question, from the socket to the
// socket: the kinds in turn, so that what else the machine does is shared by all.
func BenchmarkServed(b *testing.B) {
	far := upstream(b, func(w dns.ResponseWriter, r *dns.Msg) { answerA(w, r, "192.0.2.1") })
	s := serveApart(b, setting{Resolvers: []netip.AddrPort{far}, Cache: true}, "")
	defer withoutCollection()()
	g := newGenerator(b, s.at)
	kinds := []struct{ metric, name string }{
		{"one", "one.corp.example."},
		{"random-of-8", "eight.corp.example."},
		{"random-of-8-equals", "equal.corp.example."},
		{"fixed-8", "fixed.corp.example."},
		{"cached", "www.example.org."},
	}
	questions := make([][]byte, len(kinds))
	for i, k := range kinds {
		m := question(k.name, dns.TypeA)
		if r := ask(b, "udp", s.at, m); len(r.Answer) == 0 {
			b.Fatalf("%s is not answered: %v", k.name, r)
		}
		questions[i] = packed(b, m)
		g.saturate(100*time.Millisecond, questions[i])
	}
	used, answered := make([]time.Duration, len(kinds)), make([]int, len(kinds))
	for b.Loop() {
		for range 5 {
			for i, raw := range questions {
				before := s.cpu(b)
				answered[i] += g.saturate(200*time.Millisecond, raw)
				used[i] += s.cpu(b) - before
			}
		}
	}
	each := func(i int) float64 { return float64(used[i]) / float64(answered[i]) }
	for i, k := range kinds {
		b.ReportMetric(each(i)/1000, k.metric+"-cpu-µs")
	}
	for i, k := range kinds[1:] {
		b.ReportMetric(each(i+1)/each(0), k.metric+"/one")
	}
	b.ReportMetric(each(1)/each(3), "random-of-8/fixed-8")
	b.ReportMetric(each(2)/each(3), "random-of-8-equals/fixed-8")
}
