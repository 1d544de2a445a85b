package gossip

// Listen takes the sockets, so that a port which is in use is told before
// anything runs; without it Run takes them. Whoever calls Listen calls Run or
// Close.
func (g *Gossip) Listen() error {
	if g.cfg.Transport != nil {
		return nil
	}
	s, err := listen(g.cfg.Self, g.cfg.Port, g.log)
	if err != nil {
		return err
	}
	g.early = s
	return nil
}

// Close gives back the sockets of Listen where Run is not called.
func (g *Gossip) Close() error {
	if g.early == nil {
		return nil
	}
	return g.early.Shutdown()
}

// sockets gives those of Listen, or new ones.
func (g *Gossip) sockets() (*sockets, error) {
	if g.early != nil {
		return g.early, nil
	}
	return listen(g.cfg.Self, g.cfg.Port, g.log)
}

// Touch takes the locks that every message, change and question about the
// members needs, and returns. That it returns shows that none of them is held
// for ever.
func (g *Gossip) Touch() {
	g.mu.Lock()
	s := g.session
	g.mu.Unlock()
	if s != nil {
		if list := s.list.Load(); list != nil {
			list.NumMembers()
		}
	}
	g.peers.members()
}
