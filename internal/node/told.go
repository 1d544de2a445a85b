package node

import (
	"slices"

	"murakumo/internal/catalog"
	"murakumo/internal/control"
)

// What this node tells of things that run no daemon, beside its own records.

// tell publishes what is said now in place of what was said before.
func (r *records) tell(t *told) {
	var said saying
	defer r.say(&said)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = t
	r.cat.Update(func(own *catalog.Edit) { said = r.retell(own) })
}

// saying is what the log should know of names that are left out.
type saying struct {
	taken []staticName // names that this node has itself
	room  int          // names for which max-records has no room
}

// retell brings the static records to what is told. A name that this node has
// itself, as its own or as an alias, is left out as long as it has it: a check of
// that name, and mrkmctl, speak of the one. Where max-records has no room for
// all, the last are left out, for peers would refuse the whole. It gives what has
// to be said of those, once. Callers hold mu.
func (r *records) retell(own *catalog.Edit) saying {
	names := r.told.count()
	if names == 0 && r.telling == 0 {
		r.leftOut = nil
		return saying{}
	}
	ours := map[string]bool{r.host.Name: true}
	others := 0
	var before []catalog.Key
	for rec := range own.Records() {
		if rec.Static {
			before = append(before, rec.Key())
		} else {
			ours[rec.Name] = true
			others++
		}
	}
	var said saying
	room := max(0, r.limit-others)
	telling, leftOut := make(map[catalog.Key]bool, min(names, room)), map[string]bool{}
	records := func(yield func(catalog.Record) bool) {
		for n := range r.told.names() {
			switch {
			case telling[n.Key]:
			case ours[n.Name] && r.checked[n.Name].leaving: // soon it is not
			case ours[n.Name]:
				if at := n.from() + " " + n.Name; !leftOut[at] {
					leftOut[at] = true
					if !r.leftOut[at] {
						said.taken = append(said.taken, n)
					}
				}
			case len(telling) >= room:
				said.room++
			default:
				telling[n.Key] = true
				rec := catalog.Record{Name: n.Name, Addr: n.Addr, TTL: r.told.ttl, Priority: catalog.Master, Weight: 100, Static: true}
				if !yield(r.with(rec, r.checked[n.Name])) {
					return
				}
			}
		}
	}
	_ = own.PutAll(records) // each was checked when it was read
	for _, k := range before {
		if !telling[k] {
			own.Delete(k)
		}
	}
	r.telling, r.leftOut = len(telling), leftOut
	if said.room == r.noRoom {
		said.room = 0
	} else {
		r.noRoom = said.room
	}
	return said
}

// say logs which names are left out. It is called without mu: a log may be slow.
func (r *records) say(s *saying) {
	const most = 20
	for i, n := range s.taken {
		if i == most {
			r.log.Warn("static: more names are left out, since this node has them itself", "more", len(s.taken)-most)
			break
		}
		r.log.Warn("static: left out: "+n.Name+" is the name of this host or an alias of it", "address", n.Addr, "from", n.from())
	}
	if s.room > 0 {
		r.log.Warn("static: more names than there is room for: the last are left out; raise max-records on every host", "left out", s.room)
	}
}

// isStatic says whether this node tells of the name as that of something else.
func (r *records) isStatic(name string) bool {
	v := r.cat.View()
	return slices.ContainsFunc(v.Name(name).Of(v.Self()), func(e catalog.Entry) bool { return e.Static })
}

// notStatic says why a command cannot be about a static name.
func (r *records) notStatic(name string) error {
	if r.isStatic(name) {
		return control.Errorf(control.Conflict, "%s is a static name; it is changed in the configuration, or in its hosts file", name)
	}
	return nil
}

// address is the one that is told of a name's health check: of a static name its
// first, else that of the node.
func (r *records) address(name string, node catalog.Owner) catalog.Owner {
	v := r.cat.View()
	for _, e := range v.Name(name).Of(v.Self()) {
		if e.Static {
			return e.Addr
		}
	}
	return node
}
