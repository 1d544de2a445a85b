package check

import (
	"context"
	"fmt"
	"net/http"

	"murakumo/internal/check/expr"
)

// httpMatch asks for a path and looks for a regular expression in the first
// 64 KiB of the body. What comes with another status than 200 is an error page
// and counts as one, whatever it says.
func httpMatch(c expr.Call) Probe {
	regex := c.Regexp("regex")
	return func(ctx context.Context) error {
		g, err := newGet("http", c)
		if err != nil {
			return err
		}
		status, body, err := g.do(ctx)
		switch {
		case err != nil:
			return err
		case status != http.StatusOK:
			return g.unexpected(status, []int{http.StatusOK})
		case regex.Match(body):
			return nil
		case len(body) == maxBody:
			return fmt.Errorf("%s: no match in the first %d octets of the body, which begins %s", g, maxBody, excerpt(body))
		}
		return fmt.Errorf("%s: no match in the body of %d octets: %s", g, len(body), excerpt(body))
	}
}
