package action

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/mail"
	"sync"
	"time"

	"murakumo/internal/failover"
)

// The time limits of a try when none are configured, as the original had them.
const (
	DefaultOpenTimeout = 30 * time.Second
	DefaultReadTimeout = 60 * time.Second
)

// lastTry is how long what is still waiting may take when the daemon stops.
const lastTry = 2 * time.Second

// ErrRefused is wrapped by the error of a Sender when another try would be
// refused as well.
var ErrRefused = errors.New("refused for good")

// Sender tries once to send a message to its one recipient. It returns soon
// after ctx is done in any case. Any error that does not wrap ErrRefused means
// that it is worth another try.
type Sender func(ctx context.Context, m Message) error

// DialFunc opens a connection, like the method of net.Dialer.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// MailConfig says where mail goes and how.
type MailConfig struct {
	Host string
	Port uint16 // 0 means 25
	Helo string // the name that we greet with; "" means this node's name
	// Account and Password are for AUTH, which is used when Account is set.
	Account, Password string
	Sender            string
	Recipients        []string
	// OpenTimeout limits the connecting, ReadTimeout the whole conversation
	// after it. 0 means the defaults.
	OpenTimeout, ReadTimeout time.Duration
}

// MailOptions are the settings and seams of NewMailer.
type MailOptions struct {
	// HostName is this node's name, for the body and the Message-ID.
	HostName string
	Log      *slog.Logger
	// Send sends one mail; nil speaks SMTP to the configured server.
	Send Sender
	// Dial opens the connection for SMTP; nil means a net.Dialer.
	Dial DialFunc
}

// Mailer sends notices by mail, see doc.go.
type Mailer struct {
	host  string
	log   *slog.Logger
	send  Sender
	limit time.Duration // of one try
	lines []*line       // one per recipient
}

// line is one recipient's queue.
type line struct {
	recipient string
	wake      chan struct{} // 1 slot: a notice was added

	mu       sync.Mutex // guards what follows
	box      outbox
	finished bool // Run has returned
}

// NewMailer makes the queues; Run starts them. It fails when an address, the
// host or a name cannot be used.
func NewMailer(cfg MailConfig, opts MailOptions) (*Mailer, error) {
	if cfg.Host == "" {
		return nil, errors.New("notification has no host: name the mail server")
	}
	if err := checkName(opts.HostName); err != nil {
		return nil, fmt.Errorf("this host's name cannot stand in a mail: %w", err)
	}
	if cfg.Helo == "" {
		cfg.Helo = opts.HostName
	}
	if cfg.Port == 0 {
		cfg.Port = 25
	}
	if cfg.OpenTimeout <= 0 {
		cfg.OpenTimeout = DefaultOpenTimeout
	}
	if cfg.ReadTimeout <= 0 {
		cfg.ReadTimeout = DefaultReadTimeout
	}
	sender, err := mail.ParseAddress(cfg.Sender)
	if err != nil {
		return nil, fmt.Errorf("sender %q of the notification: %w", cfg.Sender, err)
	}
	if len(cfg.Recipients) == 0 {
		return nil, errors.New("notification has no recipients: name at least one")
	}
	m := &Mailer{
		host:  opts.HostName,
		log:   opts.Log,
		send:  opts.Send,
		limit: cfg.OpenTimeout + cfg.ReadTimeout,
	}
	for _, r := range cfg.Recipients {
		a, err := mail.ParseAddress(r)
		if err != nil {
			return nil, fmt.Errorf("recipient %q of the notification: %w", r, err)
		}
		m.lines = append(m.lines, &line{recipient: a.Address, wake: make(chan struct{}, 1)})
	}
	if m.send == nil {
		if opts.Dial == nil {
			opts.Dial = new(net.Dialer).DialContext
		}
		server := &smtpServer{cfg: cfg, sender: sender, dial: opts.Dial}
		m.send = server.send
	}
	return m, nil
}

// Notify hands the notice of a transition over, to every recipient; it never
// blocks.
func (m *Mailer) Notify(t failover.Transition) {
	msg, err := newMessage(t, m.host, time.Now())
	if err != nil {
		m.log.Error("dropped a notice that must not be put into a mail", "error", err)
		return
	}
	for _, l := range m.lines {
		msg.Recipient = l.recipient
		l.mu.Lock()
		var dropped Message
		full, finished := false, l.finished
		if !finished {
			dropped, full = l.box.add(msg)
		}
		l.mu.Unlock()
		switch {
		case finished:
			m.drop(msg, errors.New("the daemon has stopped"))
		case full:
			m.drop(dropped, fmt.Errorf("%d newer ones wait for this recipient", maxNotices))
		}
		select {
		case l.wake <- struct{}{}:
		default: // it will look anyway
		}
	}
}

// Run sends until ctx is done. Then what is under way or waiting is tried once
// more, for 2 s at most, and one line says how many notices were lost. It
// returns nil and leaves no goroutine. It may be called once.
func (m *Mailer) Run(ctx context.Context) error {
	// Tries outlive ctx by lastTry.
	tries, abandon := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abandon(nil)
	var lines sync.WaitGroup
	for _, l := range m.lines {
		lines.Go(func() { m.serve(ctx, tries, l) })
	}

	<-ctx.Done()
	timer := time.AfterFunc(lastTry, func() {
		abandon(fmt.Errorf("the daemon stops, %s for a last try are over", lastTry))
	})
	defer timer.Stop()
	lines.Wait()

	lost := 0
	for _, l := range m.lines {
		l.mu.Lock()
		l.finished = true
		lost += len(l.box.waiting)
		l.mu.Unlock()
	}
	if lost > 0 {
		m.log.Error("notices were lost: the daemon stopped before the mail server took them", "count", lost)
	}
	return nil
}

// serve sends one line's notices until ctx is done, and then what is left.
func (m *Mailer) serve(ctx, tries context.Context, l *line) {
	for ctx.Err() == nil {
		l.mu.Lock()
		now := time.Now()
		old := l.box.expire(now)
		msg, wait, ok := l.box.next(now)
		l.mu.Unlock()

		for _, o := range old {
			m.drop(o, fmt.Errorf("the mail server did not take it within %s", noticeLife))
		}
		if ok {
			m.try(tries, l, msg)
			continue
		}
		var timeout <-chan time.Time
		if wait > 0 {
			timeout = time.After(wait)
		}
		select {
		case <-l.wake:
		case <-timeout:
		case <-ctx.Done():
		}
	}
	// The last try pays no heed to the wait between tries, and ends with the
	// first notice that is put off: the next one would be as well.
	for tries.Err() == nil {
		l.mu.Lock()
		l.box.notUntil = time.Time{}
		msg, _, ok := l.box.next(time.Now())
		l.mu.Unlock()
		if !ok || m.try(tries, l, msg) == putOff {
			return
		}
	}
}

// try sends one notice once and takes in what came of it.
func (m *Mailer) try(ctx context.Context, l *line, msg Message) delivery {
	tryCtx, cancel := context.WithTimeout(ctx, m.limit)
	err := m.send(tryCtx, msg)
	cancel()

	d := delivered
	switch {
	case errors.Is(err, ErrRefused):
		d = refused
	case err != nil:
		d = putOff
	}
	now := time.Now()
	l.mu.Lock()
	wait := l.box.ended(now, d, rand.Float64())
	failures, waiting := l.box.failures, len(l.box.waiting)
	l.mu.Unlock()

	status, attrs := msg.Transition.Status, msg.attrs()
	switch d {
	case delivered:
		m.log.Info("sent the notice: "+status, append(attrs, "after", now.Sub(msg.Time))...)
	case refused:
		m.drop(msg, err)
	case putOff:
		// Said once per outage, not once a minute.
		level := slog.LevelWarn
		if failures > 1 {
			level = slog.LevelDebug
		}
		m.log.Log(ctx, level, "could not send the notice, it will be tried again: "+status,
			append(attrs, "error", err, "retry", wait, "tries", failures, "waiting", waiting)...)
	}
	return d
}

// drop writes down that a notice will not arrive.
func (m *Mailer) drop(msg Message, why error) {
	m.log.Error("dropped the notice: "+msg.Transition.Status, append(msg.attrs(), "error", why)...)
}

// attrs gives what every line about the notice carries.
func (m *Message) attrs() []any {
	return append(about(m.Transition), "name", m.Transition.Name, "recipient", m.Recipient)
}
