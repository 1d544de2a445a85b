package catalog

import (
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"
)

// TestCatalogsConverge lets catalogs change, lose their state and exchange sets
// and deltas with loss and out of order. Once everything reaches everybody,
// all hold the same, and it is what each owner last said.
func TestCatalogsConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := map[Owner]*Catalog{}
		said := map[Owner]map[Key]Record{}
		for _, o := range addrs {
			nodes[o] = New(Options{Self: o})
			said[o] = map[Key]Record{}
		}
		genNode := rapid.SampledFrom(addrs)
		send := func(from, to *Catalog, o Owner) {
			m, known := from.View().Member(o)
			if !known || m.Set == nil {
				return
			}
			if held, _ := to.View().Member(o); held.Set != nil {
				if d, ok := m.Set.Delta(held.Set.Version()); ok {
					if to.MergeDelta(d) != NeedFull {
						return
					}
				}
			}
			to.Merge(recodedIn(t, m.Set))
		}
		t.Repeat(map[string]func(*rapid.T){
			"update": func(t *rapid.T) {
				o := genNode.Draw(t, "node")
				r := genOwn.Draw(t, "record")
				nodes[o].Update(func(e *Edit) {
					if rapid.Bool().Draw(t, "delete") {
						e.Delete(r.Key())
						delete(said[o], r.Key())
					} else if e.Put(r) == nil {
						said[o][r.Key()] = r
					}
				})
			},
			"send": func(t *rapid.T) {
				send(nodes[genNode.Draw(t, "from")], nodes[genNode.Draw(t, "to")], genNode.Draw(t, "of"))
			},
			"restart with nothing": func(t *rapid.T) {
				o := genNode.Draw(t, "node")
				nodes[o] = New(Options{Self: o})
				nodes[o].Update(func(e *Edit) {
					for _, r := range said[o] {
						if err := e.Put(r); err != nil {
							t.Fatalf("%v", err)
						}
					}
				})
			},
		})
		// Two rounds: in the first an owner learns what is said in its name,
		// in the second all learn what it answers.
		for range 2 {
			for _, o := range addrs {
				for _, from := range addrs {
					send(nodes[from], nodes[o], o)
				}
				for _, to := range addrs {
					send(nodes[o], nodes[to], o)
				}
			}
		}
		for _, o := range addrs {
			own := nodes[o].View().Own()
			got := content(own)
			for k, r := range got { // numbers may have risen
				r.Transition, r.Acted, r.Activated = said[o][k].Transition, said[o][k].Acted, said[o][k].Activated
				got[k] = r
			}
			if !maps.Equal(got, said[o]) {
				t.Fatalf("%v says %v, expected %v", o, got, said[o])
			}
			for _, at := range addrs {
				m, _ := nodes[at].View().Member(o)
				if m.Set == nil || m.Set.Version() != own.Version() || m.Set.Hash() != own.Hash() || !maps.Equal(content(m.Set), content(own)) {
					t.Fatalf("%v holds of %v: %v", at, o, describe(m.Set))
				}
			}
		}
	})
}

func describe(s *Set) string {
	if s == nil {
		return "nothing"
	}
	return fmt.Sprintf("version %d, %v", s.Version(), content(s))
}
