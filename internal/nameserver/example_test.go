package nameserver_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/miekg/dns"

	"murakumo/internal/catalog"
	"murakumo/internal/nameserver"
)

func Example() {
	self := netip.MustParseAddr("10.0.0.133")
	table := catalog.New(catalog.Options{Self: self})
	table.Update(func(own *catalog.Edit) {
		own.Put(catalog.Record{Name: "mysql-server", Addr: self, TTL: 60, Priority: catalog.Master, Weight: 100, Active: true})
	})
	s := nameserver.New(nameserver.Config{
		Bind:  []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		Rules: nameserver.Rules{Domain: "corp.example", MaxAnswers: 8, NegativeTTL: 5},
		Log:   slog.New(slog.DiscardHandler),
	}, table.View)
	if err := s.Listen(); err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()

	q := new(dns.Msg).SetQuestion("mysql-server.corp.example.", dns.TypeA)
	r, err := dns.Exchange(q, s.Addrs()[0].String())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Answer[0].(*dns.A).A)
	stop()
	fmt.Println(<-done)
	// Output:
	// 10.0.0.133
	// <nil>
}
