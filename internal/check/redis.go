package check

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"murakumo/internal/check/expr"
)

// maxReply bounds a reply of Redis. INFO replication has a line for each
// replica, some 80 octets.
const maxReply = 64 << 10

// redisCheck logs in if there is a password, pings, and if a role is wanted
// asks for it. A server that loads its data, or that lost its master and was
// told to serve nothing old, refuses the ping itself.
func redisCheck(c expr.Call) Probe {
	address := hostPort(c.Text("host"), c.Int("port"))
	return func(ctx context.Context) error {
		return converse(ctx, "redis", "tcp", address, func(conn *bounded) error {
			r := newRedis(ctx, conn)
			if c.Value("password") != nil {
				if err := r.expect("OK", "AUTH", c.Text("password")); err != nil {
					return err
				}
			}
			if err := r.expect("PONG", "PING"); err != nil {
				return err
			}
			if c.Value("role") == nil {
				return nil
			}
			info, err := r.ask("INFO", "replication")
			if err != nil {
				return err
			}
			s, err := redisStanding(info)
			if err != nil {
				return err
			}
			return s.fits(c.Text("role"), nil)
		})
	}
}

// redisStanding reads INFO replication.
func redisStanding(info string) (standing, error) {
	fields := map[string]string{}
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	switch role := fields["role"]; role {
	case "master":
		return standing{writable: true}, nil
	case "slave":
		s := standing{replicates: true, of: hostPortText(fields["master_host"], fields["master_port"])}
		if fields["master_sync_in_progress"] == "1" {
			// What it has is about to be replaced, and may be nothing yet.
			s.stopped = "it is still copying all data"
		}
		return s, nil
	case "":
		return standing{}, fmt.Errorf("asked for INFO replication, it tells no role: %s", excerpt([]byte(info)))
	default:
		return standing{}, fmt.Errorf("its role is %s, which is neither master nor replica", excerpt([]byte(role)))
	}
}

// redis speaks RESP 2 (https://redis.io/docs/latest/develop/reference/protocol-spec)
// as far as the commands above need it.
type redis struct {
	ctx context.Context
	w   io.Writer
	r   *bufio.Reader
}

func newRedis(ctx context.Context, conn *bounded) *redis {
	return &redis{ctx: ctx, w: conn, r: bufio.NewReader(conn)}
}

// expect asks and wants one reply.
func (r *redis) expect(want string, command ...string) error {
	got, err := r.ask(command...)
	if err == nil && got != want {
		err = fmt.Errorf("%s: it says %s, expected %s", command[0], excerpt([]byte(got)), want)
	}
	return err
}

// ask gives the text of a simple or bulk reply. Errors name the command, and
// never its arguments.
func (r *redis) ask(command ...string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(command))
	for _, word := range command {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(r.w, b.String()); err != nil {
		return "", because(r.ctx, command[0], err)
	}
	text, err := r.reply()
	if err != nil {
		return "", because(r.ctx, command[0], err)
	}
	return text, nil
}

func (r *redis) reply() (string, error) {
	line, err := r.r.ReadSlice('\n')
	foreign := fmt.Errorf("the answer is not of a Redis server: %s", excerpt(line))
	switch {
	case err == bufio.ErrBufferFull || err == io.EOF && len(line) > 0:
		return "", foreign
	case err != nil:
		return "", err
	}
	text := strings.TrimRight(string(line[1:]), "\r\n")
	switch line[0] {
	case '+':
		return text, nil
	case '-':
		return "", errors.New(clean(text))
	case '$':
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return "", foreign
		}
		if n > maxReply {
			return "", fmt.Errorf("a reply of %d octets", n)
		}
		b := make([]byte, n+2)
		if _, err := io.ReadFull(r.r, b); err != nil {
			return "", err
		}
		return string(b[:n]), nil
	}
	return "", foreign
}
