package check

import (
	"context"
	"errors"
	"strconv"
	"testing"
)

var itoa = strconv.Itoa

func TestTCP(t *testing.T) {
	up, _ := stalls(t, "")
	down := refused(t)
	full := unanswered(t)
	leavesNothing(t)

	good(t, compile(t, "tcp_check "+itoa(up)))
	good(t, compile(t, "tcp_check "+itoa(up)+", 'localhost'"))
	bad(t, compile(t, "tcp_check "+itoa(down)), "dial tcp 127.0.0.1:"+itoa(down)+": connect: connection refused")
	hangs(t, compile(t, "tcp_check "+itoa(full)))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ask(ctx, t, compile(t, "tcp_check "+itoa(up))); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
