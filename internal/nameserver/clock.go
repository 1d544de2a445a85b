package nameserver

import (
	"context"
	"time"

	"github.com/miekg/dns"
)

// run lets time go by for what waits, until ctx is done.
func (f *forwarder) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	o := f.outboxes.Get().(*outbox)
	f.mu.Lock()
	f.begun = true
	for _, r := range f.targets {
		f.probeLoop(r, r.home, f.now(), o)
	}
	f.mu.Unlock()
	f.flush(o)
	for {
		select {
		case <-ctx.Done():
			f.close()
			return
		case <-f.kick:
		case <-timer.C:
		}
		now := f.now()
		sweep := f.ports.sweep(now)
		o := f.outboxes.Get().(*outbox)
		f.mu.Lock()
		next := f.scan(now, o)
		if sweep != 0 && (next == 0 || sweep < next) {
			next = sweep
		}
		f.armed = next
		f.mu.Unlock()
		f.flush(o)
		if next != 0 {
			timer.Reset(time.Duration(next - f.now()))
		}
	}
}

// scan moves on what is due, and gives when the next will be; 0: nothing waits.
func (f *forwarder) scan(now int64, o *outbox) int64 {
	// Who ends takes another into his place, so from the end on.
	for i := len(f.live) - 1; i >= 0; i-- {
		if fl := f.live[i]; fl.due <= now {
			f.advance(fl, now, o)
		}
	}
	next := int64(0)
	for _, fl := range f.live {
		if next == 0 || fl.due < next {
			next = fl.due
		}
	}
	if next == 0 {
		return 0
	}
	return max(next, now+int64(scanEvery))
}

// close ends all that is under way, without an answer.
func (f *forwarder) close() {
	o := f.outboxes.Get().(*outbox)
	f.mu.Lock()
	f.closed = true
	for len(f.live) > 0 {
		fl := f.live[0]
		d := delivery{m: new(message), why: noResolver}
		d.m.bare(&fl.key, dns.RcodeServerFailure)
		d.askers = f.end(fl)
		o.deliveries = append(o.deliveries, d)
	}
	f.mu.Unlock()
	o.sends = o.sends[:0]
	f.flush(o)
	f.ports.close()
	f.cancel()
}
