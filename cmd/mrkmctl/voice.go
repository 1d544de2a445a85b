package main

import (
	"fmt"
	"io"
	"strings"
)

// The program's voice:
//
//   - What was asked for goes to stdout, and nothing else does: the table, JSON,
//     changes, "Syntax OK", the help when it was asked for. All talk goes to
//     stderr, so that pipes stay clean and complaints stay visible.
//   - A change that was done is not talked about.
//   - "mrkmctl: …" and status 2: the command line makes no sense, and nobody was
//     asked to do anything. It ends by saying where help is.
//   - "error: …" and status 1: it made sense and failed; the sentence says what
//     was tried, on what, and what to do where we know.
//   - Mistakes in a file begin with file:line:column and no word of ours.
//   - Lower case, no full stop at the end, no colours, no exclamation marks:
//     these lines are read at night, and by other programs.
type voice struct{ out, err io.Writer }

// data prints what was asked for.
func (v voice) data(text string) error {
	if _, err := io.WriteString(v.out, text); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// talk says something about it.
func (v voice) talk(text string) error {
	_, err := fmt.Fprintln(v.err, text)
	return err
}

// misuse says why the command line makes no sense.
func (v voice) misuse(err error) int {
	v.talk("mrkmctl: " + err.Error() + " (mrkmctl -h shows the usage)")
	return 2
}

// failure says why it was not done. Several failures have a line each.
func (v voice) failure(err error) int {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		v.talk("error: " + line)
	}
	return 1
}

const usage = `usage: mrkmctl COMMAND [-S PATH]

commands, one at a time:
  -L, --list [PHRASE]        records; PHRASE is a regular expression that begins
                             an address, name, priority or activity
  -A, --add RECORD           adds or updates name[,ttl[,priority[,weight]]] of
                             this node; may be repeated: all or none
  -D, --delete NAME          deletes an alias of this node; may be repeated
  -a, --add-node HOST        joins a host; may be repeated
  -d, --delete-node HOST     removes a host; may be repeated
  -g, --get ATTR             prints ATTR=VALUE; the attributes are node_lifetime,
                             send_interval, receive_timeout and log_level
  -s, --set ATTR=VALUE       changes one at once; a restart forgets it
  -c, --clear-dead-list      forgets the hosts that are dead, on all hosts
  -y, --yaml                 the running configuration, secrets and all, as a file
                             that starts the same node
  -t, --configtest [PATH]    checks a configuration (/etc/murakumo.yml) and needs
                             no daemon; --init also runs its init-script
      --report NAME VERDICT  tells the health check of an alias (one with ttl) that
                             the service behind it is good or bad
      --check NAME           runs the health check of NAME now: status 0 if it is
                             good, 1 if it is bad
      --proxies              prints the load balancer's listeners and backends
      --watch                prints every change until interrupted
  -h, --help                 this text
  -v, --version              the version

options:
  -S, --socket PATH          the daemon's control socket
      --json                 prints JSON (with -L, --check, --proxies and --watch)
      --init                 runs the init-script (with -t)

exit status: 0 done, 1 failed, 2 usage error
`
