package check

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"

	"murakumo/internal/check/expr"
)

// memcachedCheck asks for the version: the cheapest question of the text
// protocol that the server itself answers, and not only its kernel.
func memcachedCheck(c expr.Call) Probe {
	address := hostPort(c.Text("host"), c.Int("port"))
	return func(ctx context.Context) error {
		return converse(ctx, "memcached", "tcp", address, func(conn *bounded) error {
			if _, err := io.WriteString(conn, "version\r\n"); err != nil {
				return because(ctx, "asking for the version", err)
			}
			// The reader's size bounds the line.
			line, err := bufio.NewReaderSize(conn, 512).ReadSlice('\n')
			switch {
			case err == bufio.ErrBufferFull || err == nil && !bytes.HasPrefix(line, []byte("VERSION ")):
				return fmt.Errorf("asked for its version, it says %s", excerpt(line))
			case err == io.EOF && len(line) > 0:
				return fmt.Errorf("asked for its version, it says %s and hangs up", excerpt(line))
			case err != nil:
				return because(ctx, "reading the version", err)
			}
			return nil
		})
	}
}
