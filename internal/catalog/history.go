package catalog

// historyKeys bounds how many changed keys a set remembers: enough for a node
// that missed a minute of gossip from a busy owner, some tens of kilobytes at
// most. Who is further behind gets the whole set.
const historyKeys = 1024

// step is one rise of a set's version with the keys that it touched. Steps are
// never changed once made, so any number of successors may share them.
type step struct {
	from, to uint64
	keys     []Key
	before   *step // within the same generation
}

// history is the last steps of a set. It consists of two generations: when the
// recent one is full it becomes the older one and what was older is forgotten.
// So adding costs O(1) and nothing is ever copied or cut off in place.
type history struct {
	recent, older *step
	weight        int // keys and steps in recent
}

// added gives the history with one more step. A step that does not rise, does
// not continue the last one or is too large leaves nothing to build on.
func (h history) added(from, to uint64, keys []Key) history {
	weight := len(keys) + 1
	switch {
	case to <= from, weight > historyKeys:
		return history{}
	case h.recent != nil && h.recent.to != from:
		h = history{}
	case h.weight+weight > historyKeys/2:
		h = history{older: h.recent}
	}
	return history{
		recent: &step{from: from, to: to, keys: keys, before: h.recent},
		older:  h.older,
		weight: h.weight + weight,
	}
}

// since gives the keys touched after a version, each once. It is false when
// that version is none that the set stood at within the history.
func (h history) since(version uint64) (keys map[Key]struct{}, ok bool) {
	keys = map[Key]struct{}{}
	for _, generation := range []*step{h.recent, h.older} {
		for s := generation; s != nil && s.to > version; s = s.before {
			for _, k := range s.keys {
				keys[k] = struct{}{}
			}
			if s.from == version {
				return keys, true
			}
		}
	}
	return nil, false
}
