package nameserver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// BenchmarkLocalUnderFlood asks for a name of the table while twenty thousand
// questions a second want to be forwarded to resolvers that are silent. It tells the
// median and the 99th percentile of the time to the answer.
func BenchmarkLocalUnderFlood(b *testing.B) {
	for _, rate := range []int{0, 20_000} {
		b.Run(fmt.Sprintf("%d a second", rate), func(b *testing.B) {
			mute := func() netip.AddrPort {
				c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
				fatal(b, err)
				b.Cleanup(func() { c.Close() })
				return c.LocalAddr().(*net.UDPAddr).AddrPort()
			}
			at := serve(b, Config{Resolvers: via(mute(), mute())})
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if rate > 0 {
				c, err := net.Dial("udp", at.String())
				fatal(b, err)
				defer c.Close()
				go func() {
					buf := make([]byte, readSize)
					for {
						if _, err := c.Read(buf); err != nil {
							return
						}
					}
				}()
				go func() {
					tick := time.NewTicker(time.Millisecond)
					defer tick.Stop()
					for i := 0; ; {
						select {
						case <-ctx.Done():
							return
						case <-tick.C:
						}
						for range rate / 1000 {
							i++
							c.Write(packed(b, question(fmt.Sprintf("host-%d.example.", i), dns.TypeA)))
						}
					}
				}()
			}
			c := dial(b, "udp", at)
			c.SetDeadline(time.Time{})
			raw, buf := packed(b, question("db.", dns.TypeA)), make([]byte, readSize)
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				if _, err := c.Conn.Write(raw); err != nil {
					b.Fatal(err)
				}
				if _, err := c.Conn.Read(buf); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}
