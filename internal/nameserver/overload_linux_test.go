package nameserver

import (
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// BenchmarkOverload is a server with a tenth of a CPU. It is asked as much as it can answer,
// and in turn by far more than that: how many of those are answered all the same, and the
// 99th percentile of how long these took in the server. That is from when the question left
// until the system had the reply; over loopback it is in the server's buffer when the call
// that sends it returns. Without and with taking out what is old. It needs root and a control
// group.
func BenchmarkOverload(b *testing.B) {
	for _, rate := range []int{150_000, 1_000_000} {
		for _, age := range []time.Duration{time.Hour, tooOld} {
			b.Run(fmt.Sprintf("%d a second, old is %v", rate, age), func(b *testing.B) {
				const turn = time.Second // ten periods of the group
				s := serveApart(b, setting{Old: age}, tenth(b))
				defer withoutCollection()()
				g, raw := newGenerator(b, s.at), packed(b, question("one.corp.example.", dns.TypeA))
				able, turns := 0, 0
				var used [2]time.Duration
				o := new(outcome)
				for b.Loop() {
					for range 5 {
						at := s.cpu(b)
						able += g.saturate(turn, raw)
						used[0] += s.cpu(b) - at
						at = s.cpu(b)
						o.add(g.pace(rate, turn, func(int) []byte { return raw }, nil))
						used[1] += s.cpu(b) - at
						turns++
					}
				}
				seconds := turn.Seconds() * float64(turns)
				b.ReportMetric(float64(able)/seconds, "able/s")
				b.ReportMetric(float64(o.asked)/seconds, "asked/s")
				b.ReportMetric(float64(len(o.took))/seconds, "answered/s")
				b.ReportMetric(100*float64(len(o.took))/float64(able), "answered-of-able-%")
				b.ReportMetric(micros(used[0])/float64(able), "able-cpu-µs")
				b.ReportMetric(micros(used[1])/float64(len(o.took)), "answered-cpu-µs")
				b.ReportMetric(micros(percentile(o.held, 99))/1000, "p99-in-server-ms")
			})
		}
	}
}
