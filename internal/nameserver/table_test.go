package nameserver

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"murakumo/internal/catalog"
)

// table makes a view from text, a record a line, the word down at its end when
// its owner is dead:
//
//	OWNER  ADDR  NAME  TTL  PRIORITY  WEIGHT  active|inactive  [down] [static] [checked] [port=N] [txt=A,B] [cname=NAME]
//
// The first owner is this node, and of course alive.
func table(t testing.TB, text string) *catalog.View {
	t.Helper()
	var (
		owners []catalog.Owner
		nodes  = map[catalog.Owner]*catalog.Catalog{}
		status = map[catalog.Owner]catalog.Status{}
	)
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		if len(w) == 0 {
			continue
		}
		var r catalog.Record
		var owner netip.Addr
		_, err := fmt.Sscan(w[3], &r.TTL)
		fatal(t, err)
		_, err = fmt.Sscan(w[5], &r.Weight)
		fatal(t, err)
		owner, r.Addr, r.Name, r.Active = netip.MustParseAddr(w[0]), netip.MustParseAddr(w[1]), w[2], w[6] == "active"
		if w[4] == "origin" {
			r.Priority = catalog.Origin
		} else {
			r.Priority, err = catalog.ParsePriority(w[4])
			fatal(t, err)
		}
		c := nodes[owner]
		if c == nil {
			c = catalog.New(catalog.Options{Self: owner})
			nodes[owner] = c
			owners = append(owners, owner)
		}
		status[owner] = catalog.Alive
		for _, word := range w[7:] {
			word, value, _ := strings.Cut(word, "=")
			switch word {
			case "port":
				_, err = fmt.Sscan(value, &r.Port)
				fatal(t, err)
			case "txt":
				text, err := catalog.NewText(strings.Split(value, ",")...)
				fatal(t, err)
				r = r.WithText(text)
			case "cname":
				r = r.WithTarget(value)
			case "down":
				status[owner] = catalog.Dead
			case "static":
				r.Static = true
			case "checked":
				r.Checked = true
			default:
				t.Fatalf("%s: %s?", line, word)
			}
		}
		c.Update(func(own *catalog.Edit) { err = own.Put(r) })
		fatal(t, err)
	}
	if len(owners) == 0 {
		return catalog.New(catalog.Options{Self: netip.MustParseAddr("10.0.0.1")}).View()
	}
	self := nodes[owners[0]]
	for _, o := range owners[1:] {
		self.Merge(nodes[o].View().Own())
		self.SetStatus(o, status[o], time.Unix(1, 0))
	}
	return self.View()
}

func fatal(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// house is the table most tests ask: every tier, a name that lives only in the
// set of a dead node, a host with two families, one of two nodes down.
const house = `
10.0.0.1  10.0.0.1      server-01  60   origin     0    active
10.0.0.1  fd00::1       server-01  60   origin     0    active
10.0.0.1  10.0.0.1      web        60   master     100  active
10.0.0.1  fd00::1       web        60   master     100  active
10.0.0.1  10.0.0.1      db         60   master     100  inactive
10.0.0.1  10.0.0.1      mixed      300  master     100  active
10.0.0.1  10.0.0.1      six        60   secondary  100  active
10.0.0.1  10.0.0.1      asleep     60   master     100  inactive
10.0.0.2  10.0.0.2      server-02  60   origin     0    active
10.0.0.2  10.0.0.2      web        30   secondary  100  active
10.0.0.2  10.0.0.2      db         60   backup     100  active
10.0.0.2  10.0.0.2      mixed      5    backup     100  active
10.0.0.2  10.0.0.2      spare      60   backup     100  active
10.0.0.2  10.0.0.2      server-01  60   backup     100  active
10.0.0.3  10.0.0.3      server-03  60   origin     0    active
10.0.0.3  10.0.0.3      web        90   backup     100  active
10.0.0.3  10.0.0.3      spare      40   backup     100  active
10.0.0.3  fd00::3       six        60   backup     100  active
10.0.0.9  10.0.0.9      server-09  60   origin     0    active  down
10.0.0.9  10.0.0.9      ghost      60   master     100  active  down
10.0.0.9  10.0.0.9      web        60   master     100  active  down
10.0.0.3  10.0.0.3      db.rack.east  60  master   100  active
10.0.0.9  10.0.0.9      grave.tomb 60   master     100  active  down
10.0.0.7  10.0.0.7      b-alias    60   secondary  100  active
10.0.0.7  10.0.0.7      a-alias    60   backup     100  active
10.0.0.7  10.0.0.7      c-alias    50   secondary  100  active
10.0.0.7  10.0.0.7      z-alias    60   master     100  inactive
10.0.0.8  10.0.0.8      only-ill   60   master     100  inactive
10.0.0.8  10.0.0.8      web        10   master     100  inactive
`

func seeded() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// lines prints the records of an answer, one a line, blanks single.
func lines(rrs []dns.RR) string {
	var b strings.Builder
	for _, rr := range rrs {
		b.WriteString(strings.Join(strings.Fields(rr.String()), " "))
		b.WriteByte('\n')
	}
	return b.String()
}

// text joins lines that are written one after another in a test.
func text(lines ...string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}
