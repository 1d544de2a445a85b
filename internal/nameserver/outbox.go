package nameserver

// sending is a packet for a resolver, with identifier 0.
type sending struct {
	ticket
	to     *resolver
	stream bool
	at     int64
	size   int
	packet [headerSize + maxWireName + 4 + optSize]byte
}

// delivery is a reply for some askers.
type delivery struct {
	askers []client
	m      *message
	stale  bool
	why    *reason
}

// outbox is what there is to do when the lock is let go.
type outbox struct {
	sends      []sending
	deliveries []delivery
	notes      []func()
	buf        []byte
	m          message
	askers     []client // spare
}

func (o *outbox) note(fn func()) { o.notes = append(o.notes, fn) }

// flush does what is in an outbox, and gives it back. Nobody holds the lock.
func (f *forwarder) flush(o *outbox) {
	for i := 0; i < len(o.sends); i++ {
		if err := f.post(&o.sends[i]); err != nil {
			s := &o.sends[i]
			f.unanswered(s.to, s.ticket, s.at, err, o)
		}
	}
	for _, d := range o.deliveries {
		for i := range d.askers {
			a := &d.askers[i]
			o.buf = a.compose(o.buf, d.m, 0, d.stale, d.why)
			a.to.reply(a, o.buf)
		}
		clear(d.askers)
	}
	for _, n := range o.notes {
		n()
	}
	clear(o.deliveries)
	clear(o.notes)
	if cap(o.askers) > mostSpare {
		o.askers = nil
	}
	o.sends, o.deliveries, o.notes = o.sends[:0], o.deliveries[:0], o.notes[:0]
	f.outboxes.Put(o)
}

func (f *forwarder) post(s *sending) error {
	switch {
	case f.send != nil:
		return f.send(s)
	case s.stream:
		return s.to.stream.ask(s)
	}
	return s.to.udp.ask(s)
}
