package check

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"murakumo/internal/check/expr"
)

const (
	// maxHead bounds the lines before the body, maxBody what is read of the
	// body: enough to see that the server can deliver, and nothing that a
	// server which never ends can fill memory or time with.
	maxHead = 64 << 10
	maxBody = 64 << 10
)

// httpGet asks for a path and compares the status; redirects are answers like
// any other and not followed. It writes one request on one connection itself:
// http.Client would bring a pool, proxies from the environment and goroutines
// that end some time after the answer.
func httpGet(c expr.Call) Probe {
	host, port, want := c.Text("host"), c.Int("port"), c.Ints("statuses")
	path := c.Text("path")
	return func(ctx context.Context) error {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return err
		}
		u.Scheme, u.Host = "http", hostPort(host, port)
		if port == 80 {
			u.Host = strings.TrimSuffix(u.Host, ":80") // as browsers ask
		}
		status, err := get(ctx, u, hostPort(host, port))
		if err != nil {
			return fmt.Errorf("GET %s: %w", u, err)
		}
		if !slices.Contains(want, status) {
			got := strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
			return fmt.Errorf("GET %s: status %s, expected %s", u, got, list(want))
		}
		return nil
	}
}

func list(ints []int) string {
	words := make([]string, len(ints))
	for i, n := range ints {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, ", ")
}

// get returns the status of an answer that came whole, up to maxBody.
func get(ctx context.Context, u *url.URL, address string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return 0, err
	}
	req.Close = true // Connection: close
	req.Header.Set("User-Agent", "murakumo (health check)")
	req.Header.Set("Accept", "*/*")

	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	defer interrupt(ctx, conn)()

	if err := req.Write(conn); err != nil {
		return 0, because(ctx, "sending the request", err)
	}
	limit := &io.LimitedReader{R: conn, N: maxHead}
	r := bufio.NewReader(limit)
	for {
		resp, err := http.ReadResponse(r, req)
		if err != nil {
			if limit.N <= 0 {
				err = fmt.Errorf("more than %d octets before the body", maxHead)
			}
			return 0, because(ctx, "reading the answer", err)
		}
		if resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
			continue // interim: the answer is still to come
		}
		limit.N = math.MaxInt64 // net/http bounds what it reads between chunks
		_, err = io.CopyN(io.Discard, resp.Body, maxBody)
		if err != nil && err != io.EOF {
			return 0, because(ctx, "reading the body", err)
		}
		return resp.StatusCode, nil
	}
}

// interrupt makes everything that waits on conn return when ctx ends. The
// caller calls what it gets before conn is given away or closed.
func interrupt(ctx context.Context, conn net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		// A time long past. An error means that conn is closed already.
		_ = conn.SetDeadline(time.Unix(1, 0))
	})
}

// because names the step that failed. If ctx ended, that is the reason, and
// what the socket said of it ("i/o timeout") adds nothing.
func because(ctx context.Context, step string, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("%s: %w", step, err)
}
