package catalog

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// checkAnswers compares the answers of a name with a plain restatement of the
// rule.
func checkAnswers(t fataler, v *View, n *Name) {
	t.Helper()
	var want []Entry
	for i, e := range n.Entries() {
		if e.Priority == Origin {
			want = append(want, e)
			continue
		}
		var static, alias []Entry
		for _, o := range n.Entries() {
			switch {
			case o.Addr != e.Addr || o.Priority == Origin:
			case o.Static:
				static = append(static, o)
			default:
				alias = append(alias, o)
			}
		}
		refuted := slices.ContainsFunc(static, func(s Entry) bool { return s.Checked && !s.Active })
		switch {
		case !e.Static:
			e.Active = e.Active && !refuted
			want = append(want, e)
		case len(alias) == 0 && static[0] == n.Entries()[i]:
			e.TTL = slices.MinFunc(static, func(a, b Entry) int { return cmp.Compare(a.TTL, b.TTL) }).TTL
			e.Active = !refuted && slices.ContainsFunc(static, func(s Entry) bool { return s.Active })
			want = append(want, e)
		}
	}
	if got := n.Answers(); !slices.Equal(got, want) {
		t.Fatalf("answers of %q: %v, expected %v", n.Name(), got, want)
	}
	for _, e := range want {
		if got := v.Active(e); got != e.Active {
			t.Fatalf("Active(%v): %v", e, got)
		}
	}
}

// TestAnswers: what is said of one address of the name rds, and what comes of
// it.
func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		what    string
		said    string // PRIORITY-or-static [checked] active|inactive [TTL], one for each owner
		answers string // of the address: PRIORITY active|inactive TTL, one for each entry
	}{
		{"one owner, no check", "static active", "Master active 60"},
		{"one owner, a good check", "static checked active", "Master active 60"},
		{"one owner, a bad check", "static checked inactive", "Master inactive 60"},
		{"one owner, its check has not answered yet", "static inactive", "Master inactive 60"},
		{"three owners, once; the least TTL", "static active 60, static active 5, static active 300", "Master active 5"},
		{"one who checks says Inactive", "static active, static checked inactive, static active", "Master inactive 60"},
		{"two who check disagree", "static checked active, static checked inactive", "Master inactive 60"},
		{"the check of one has not answered yet", "static active, static inactive", "Master active 60"},
		{"no check has answered yet", "static inactive, static inactive", "Master inactive 60"},
		{"good checks", "static checked active, static checked active", "Master active 60"},
		{"its host speaks for itself", "static active, backup active", "Backup active 60"},
		{"also of its illness", "static active, backup inactive", "Backup inactive 60"},
		{"but for who checks", "static checked inactive, backup active", "Backup inactive 60"},
		{"likewise when others do not", "static active, backup active, static checked inactive", "Backup inactive 60"},
		{"a good check heals nothing", "static checked active, backup inactive", "Backup inactive 60"},
		{"two aliases are two", "master active, backup inactive", "Master active 60, Backup inactive 60"},
		{"also beside a static one", "master active, static active, backup inactive", "Master active 60, Backup inactive 60"},
		{"an origin is something else", "static checked inactive, origin active", "Master inactive 60, Origin active 60"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			c := New(Options{Self: netip.MustParseAddr("10.0.0.254")})
			for i, text := range strings.Split(tt.said, ", ") {
				r := rec("rds", addr1)
				for _, w := range strings.Fields(text) {
					switch w {
					case "static":
						r.Static = true
					case "checked":
						r.Checked = true
					case "active", "inactive":
						r.Active = w == "active"
					case "origin":
						r.Priority, r.Weight = Origin, 0
					default:
						if p, err := ParsePriority(w); err == nil {
							r.Priority = p
						} else if _, err := fmt.Sscan(w, &r.TTL); err != nil {
							t.Fatal(err)
						}
					}
				}
				owner := netip.AddrFrom4([4]byte{10, 9, 9, byte(i)})
				// Another address of the name has nothing to do with it.
				other := rec("rds", addr2)
				other.Static = i == 0
				s := grown(NewSet(owner), []Record{r, other}, nil)
				c.Merge(recoded(t, s))
				c.SetStatus(owner, Alive, time0)
			}
			var got []string
			for _, e := range c.View().Name("rds").Answers() {
				if e.Addr == addr1 {
					got = append(got, fmt.Sprintf("%v %s %d", e.Priority, map[bool]string{true: "active", false: "inactive"}[e.Active], e.TTL))
				}
			}
			if strings.Join(got, ", ") != tt.answers {
				t.Errorf("%q, want %q", got, tt.answers)
			}
			checkView(t, c.View())

			// Nothing is left when the owners are dead.
			for m := range c.View().Members() {
				c.SetStatus(m.Owner, Dead, time0)
			}
			if n := c.View().Name("rds"); n == nil || len(n.Answers()) != 0 {
				t.Errorf("of dead owners: %v", n)
			}
		})
	}
	if n := (*Name)(nil); n.Answers() != nil {
		t.Error("a nil name has answers")
	}
}

// TestCheckDies: when the owner who checked is dead, what the others take for
// granted counts again.
func TestCheckDies(t *testing.T) {
	c := New(Options{Self: addr1})
	r := rec("rds", netip.MustParseAddr("10.0.9.9"))
	r.Static = true
	c.Update(put(t, r))
	r.Checked, r.Active = true, false
	c.Merge(grown(NewSet(addr2), []Record{r}, nil))
	active := func() bool {
		list := c.View().Name("rds").Answers()
		return len(list) == 1 && list[0].Active
	}
	c.SetStatus(addr2, Alive, time0)
	if active() {
		t.Error("Active though a check says Inactive")
	}
	c.SetStatus(addr2, Dead, time0)
	if !active() {
		t.Error("Inactive though nobody alive says so")
	}
}
