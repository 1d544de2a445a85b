package gossip

// Change is what can be another while a node takes part.
type Change struct {
	Keys       []string // as in Config
	Peers      []string
	MaxRecords int
}

// Prepare readies a change and gives the function that makes it. An error says
// what of it cannot be used; nothing has changed then.
//
// With another list of keys, packets and streams are encrypted by the new first
// one from that moment on, and decrypted by all of the new ones. To change a key
// with no message lost: add the new one behind the old on every node, then put
// it first on every node, then take the old one out.
//
// Who was an initial node and is none any more is no longer looked for under
// that name; as a member it stays.
func (g *Gossip) Prepare(c Change) (change func(), err error) {
	keys, err := deriveKeys(c.Keys)
	if err != nil {
		return nil, err
	}
	initial, err := g.parsePeers(c.Peers)
	if err != nil {
		return nil, err
	}
	return func() {
		if err := useKeys(g.ring, keys); err != nil {
			// Only for a key of a wrong length, which deriveKeys does not make.
			g.log.Error("gossip: the keys could not be changed", "error", err)
		}
		g.initial.Store(&initial)
		if c.MaxRecords > 0 {
			g.maxRecords.Store(int64(c.MaxRecords))
		}
	}, nil
}

// parsePeers reads the initial nodes. Those that there were go on with what they
// resolved to last.
func (g *Gossip) parsePeers(texts []string) ([]*initial, error) {
	all := make([]*initial, 0, len(texts))
	var before []*initial
	if p := g.initial.Load(); p != nil {
		before = *p
	}
	for _, text := range texts {
		i, err := parseInitial(text)
		if err != nil {
			return nil, err
		}
		for _, b := range before {
			if b.host == i.host && b.port == i.port {
				i = b
			}
		}
		all = append(all, i)
	}
	return all, nil
}
