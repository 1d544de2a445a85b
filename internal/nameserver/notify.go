package nameserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// notifyEvery is the least time from one NOTIFY to the next of the same
	// secondary: what changes meanwhile is told of together. It is also how long
	// the first waits for its acknowledgement.
	notifyEvery = time.Second

	// notifyMost is how long a secondary that does not acknowledge is left alone
	// at most: after a second the time doubles (RFC 1996 §3.6). What has changed since
	// is told at once.
	notifyMost = time.Minute

	// notifyWait is how long an acknowledgement is waited for at most.
	notifyWait = 5 * time.Second
)

// notify tells the secondaries of the rules about each change of the zone, and of
// how it is when they begin to be ones, until ctx is done (RFC 1996).
func (s *Server) notify(ctx context.Context) {
	type told struct {
		domain string
		at     netip.AddrPort
	}
	secondaries := map[told]*secondary{}
	defer func() {
		for _, x := range secondaries {
			x.stop()
		}
	}()
	for {
		now, v := s.policy.Load(), s.view()
		r := &now.rules
		for k, x := range secondaries {
			if r.Domain != k.domain || !slices.Contains(r.Notify, k.at) {
				x.stop()
				delete(secondaries, k)
			}
		}
		if r.Domain != "" {
			for _, at := range r.Notify {
				x := secondaries[told{r.Domain, at}]
				if x == nil {
					x = &secondary{at: at, exchange: s.exchangeNotify, log: s.log.With("secondary", at.String(), "zone", r.Domain), news: make(chan *dns.SOA, 1)}
					var life context.Context
					life, x.stop = context.WithCancel(ctx)
					s.wg.Go(func() { x.run(life) })
					secondaries[told{r.Domain, at}] = x
				}
				x.tell(r.soa(v))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-v.Superseded():
		case <-now.superseded:
		}
	}
}

// secondary is one server that is to know of changes.
type secondary struct {
	at netip.AddrPort
	// exchange sends a NOTIFY and waits for the acknowledgement, as long as ctx
	// lasts.
	exchange func(ctx context.Context, at netip.AddrPort, m *dns.Msg) (*dns.Msg, error)
	log      *slog.Logger
	// news has the latest SOA that it was not told yet. tell alone puts something
	// in.
	news chan *dns.SOA
	stop context.CancelFunc
}

// tell has it told of the zone as it is now, and of nothing earlier.
func (x *secondary) tell(soa *dns.SOA) {
	select {
	case <-x.news:
	default:
	}
	x.news <- soa
}

// run tells the secondary what it has not acknowledged, until ctx is done.
func (x *secondary) run(ctx context.Context) {
	var known uint32
	began, well := false, true
	pause := notifyEvery
	var soa *dns.SOA // nil when it knows all
	for {
		if soa == nil {
			select {
			case <-ctx.Done():
				return
			case soa = <-x.news:
			}
		} else {
			select {
			case soa = <-x.news:
				pause = notifyEvery
			default:
			}
		}
		if began && soa.Serial == known {
			soa = nil
			continue
		}
		soonest, next := time.NewTimer(notifyEvery), time.NewTimer(pause)
		attempt, cancel := context.WithTimeout(ctx, min(pause, notifyWait))
		err := x.send(attempt, soa)
		cancel()
		switch {
		case ctx.Err() != nil:
			soonest.Stop()
			next.Stop()
			return
		case err == nil:
			if !well {
				x.log.Info("the secondary acknowledges NOTIFY again", "serial", soa.Serial)
			}
			began, well, known, pause, soa = true, true, soa.Serial, notifyEvery, nil
		default:
			if well {
				x.log.Warn("the secondary does not acknowledge NOTIFY: trying again, at last once a minute", "error", err)
			}
			well, pause = false, min(2*pause, notifyMost)
		}
		select {
		case <-ctx.Done():
		case <-soonest.C:
		}
		if soa != nil { // else the time is up
			select {
			case <-ctx.Done():
			case <-next.C:
			case soa = <-x.news:
				pause = notifyEvery // it may be back since
			}
		}
		soonest.Stop()
		next.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// send tells of the zone as it is, and says whether that was acknowledged.
func (x *secondary) send(ctx context.Context, soa *dns.SOA) error {
	m := new(dns.Msg).SetNotify(soa.Hdr.Name)
	m.Authoritative = true
	m.Answer = []dns.RR{soa} // RFC 1996 §3.7
	r, err := x.exchange(ctx, x.at, m)
	switch {
	case err != nil:
		return err
	case r.Rcode != dns.RcodeSuccess:
		return fmt.Errorf("it answers %s: it has to have the zone, and to allow NOTIFY from this host", dns.RcodeToString[r.Rcode])
	}
	return nil
}

// exchangeNotify sends m over UDP, from an address that we serve where that is a
// certain one, since it is by the address that a secondary knows us. It returns
// the reply to it, for which it waits as long as ctx lasts.
func (s *Server) exchangeNotify(ctx context.Context, at netip.AddrPort, m *dns.Msg) (*dns.Msg, error) {
	raw, err := m.Pack()
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	for _, k := range s.sockets {
		if a := k.addr.Addr(); !k.wild && a.Is4() == at.Addr().Is4() && a.IsLoopback() == at.Addr().IsLoopback() {
			d.LocalAddr = &net.UDPAddr{IP: a.AsSlice(), Zone: a.Zone()}
			break
		}
	}
	conn, err := d.DialContext(ctx, "udp", at.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(raw); err != nil {
		return nil, err
	}
	buf := make([]byte, readSize)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			if ctx.Err() != nil {
				err = errors.New("no acknowledgement")
			}
			return nil, err
		}
		var r dns.Msg
		if r.Unpack(buf[:n]) == nil && r.Id == m.Id && r.Response && r.Opcode == dns.OpcodeNotify &&
			len(r.Question) == 1 && strings.EqualFold(r.Question[0].Name, m.Question[0].Name) {
			return &r, nil
		}
	}
}
