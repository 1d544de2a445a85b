// Package check holds the probes of the health checks: one file per protocol,
// each probe a function that asks once and says why the answer is no.
//
//	probe := check.Compile(script)              // script: tcp_check 80 and http_get '/'
//	probe = check.Command([]string{"/usr/lib/nagios/plugins/check_disk", "-w", "10%"})
//
//	ctx, cancel := context.WithTimeout(ctx, timeout)
//	defer cancel()
//	err := probe(ctx) // nil: healthy
//
// A probe has no time limit of its own and obeys ctx in every step: it looks
// up, connects, waits, reads until ctx ends, and then returns at once. What it
// opened is closed and what it started has ended when it returns, so a check
// every second costs the same after a year. The only exception is a program
// that leaves its process group to outlive [Command].
//
// Probes share nothing: any number may run at the same time, and none uses a
// connection of the one before, because a pool would find a dead server late.
package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"murakumo/internal/check/expr"
)

// A Probe asks once whether a service is well. Nil is yes; an error says what
// was tried on what and what came back. An error because ctx ended wraps
// ctx's. No error holds a password.
type Probe func(ctx context.Context) error

// calls has a maker of probes for each check of expr.Signatures; a test
// compares the two.
var calls = map[string]func(expr.Call) Probe{
	"http_get":    httpGet,
	"http_match":  httpMatch,
	"https_get":   httpsGet,
	"mysql_check": mysqlCheck,
	"tcp_check":   tcpCheck,

	"memcached_check": memcachedCheck,

	"mysql_role": mysqlRole,

	"postgres_check": postgresCheck,
	"postgres_role":  postgresRole,

	"redis_check": redisCheck,

	"smtp_check": smtpCheck,

	"dns_check":  dnsCheck,
	"file_check": fileCheck,
	"grpc_check": grpcCheck,
	"ping_check": pingCheck,
	"tcp_match":  tcpMatch,
	"tls_check":  tlsCheck,
	"udp_match":  udpMatch,
	"unit_check": unitCheck,
}

// Compile gives the probe that runs a script. Its checks run one after the
// other within the one ctx, those alone that still matter.
func Compile(s *expr.Script) Probe { return CompileAt(s, "127.0.0.1") }

// CompileAt is Compile for a service on another host: what the script asks of
// 127.0.0.1, where nothing else is said, it asks of that host.
func CompileAt(s *expr.Script, host string) Probe {
	return func(ctx context.Context) error {
		return forPeople(s.Eval(ctx, func(ctx context.Context, c expr.Call) error {
			c = c.At(host)
			make := calls[c.Name]
			if make == nil {
				return fmt.Errorf("this program has no %s", c.Name)
			}
			return without(c.Secrets(), make(c)(ctx))
		}))
	}
}

// forPeople says for people that a probe was out of time, whatever the libraries
// below called that.
func forPeople(err error) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return masked{strings.ReplaceAll(err.Error(), context.DeadlineExceeded.Error(), "no answer in time"), err}
}

// without takes the secrets out of what an error says: a server may repeat
// whatever it was sent.
func without(secrets []string, err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, s := range secrets {
		if s == "" {
			continue
		}
		quoted := strconv.Quote(s)
		for _, s := range []string{s, quoted[1 : len(quoted)-1]} {
			text = strings.ReplaceAll(text, s, "***")
			// Long words of a server are cut, maybe within the secret. What
			// tcp_match sends can be much longer than what is told of it.
			for n := min(len(s)-1, len(text)); n > 0; n-- {
				text = strings.ReplaceAll(text, s[:n]+"…", "***…")
				text = strings.ReplaceAll(text, s[:n]+`"…`, `***"…`)
			}
		}
	}
	if text == err.Error() {
		return err
	}
	return masked{text, err}
}

// masked is an error in other words.
type masked struct {
	text string
	error
}

func (m masked) Error() string { return m.text }
func (m masked) Unwrap() error { return m.error }

// dial connects. Names are looked up by Go's own resolver: the C library's
// cannot be interrupted, and a dead name server would leave a thread behind
// for every probe. Keep-alive packets are off, a probe is shorter than their
// first interval.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1, Resolver: &net.Resolver{PreferGo: true}}
	return d.DialContext(ctx, network, address)
}
