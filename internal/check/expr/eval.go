package expr

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Eval runs the script: run is called for each check that still matters, one
// after the other, from left to right and from line to line; nil from it means
// that the check is good.
//
// The result is nil when the script is true. Otherwise the error names each
// check that made it false and wraps what run said of it. Once ctx has ended
// no check can make the script true: what a check said after its time is not
// known to be so, least of all under a `not`. The error then also wraps
// ctx's.
func (s *Script) Eval(ctx context.Context, run func(ctx context.Context, c Call) error) error {
	if len(s.lines) == 0 {
		return errors.New("there is no script to run")
	}
	e := &evaluation{ctx: ctx, run: run}
	for _, n := range s.lines {
		no, stop := n.eval(e)
		if stop != nil {
			return stop
		}
		if no != nil {
			return no
		}
	}
	return nil
}

// evaluation is one run of a script. Each node answers with two errors: no
// says why it is false, stop that there is no answer because the time is over.
type evaluation struct {
	ctx context.Context
	run func(context.Context, Call) error
}

// over gives ctx's error. The deadline is compared, too: a socket with this
// deadline may report its timeout a moment before ctx does.
func (e *evaluation) over() error {
	if err := e.ctx.Err(); err != nil {
		return err
	}
	if at, ok := e.ctx.Deadline(); ok && time.Until(at) <= 0 {
		return context.DeadlineExceeded
	}
	return nil
}

func (b literal) eval(*evaluation) (no, stop error) {
	if !b {
		return errors.New("false is never true"), nil
	}
	return nil, nil
}

func (n *negation) eval(e *evaluation) (no, stop error) {
	no, stop = n.of.eval(e)
	if stop != nil {
		return nil, stop
	}
	if no != nil {
		return nil, nil
	}
	w := writer{hide: true}
	n.write(&w)
	return fmt.Errorf("%s: it is good", w.String()), nil
}

func (c *chain) eval(e *evaluation) (no, stop error) {
	no, stop = c.first.eval(e)
	for _, l := range c.rest {
		if stop != nil {
			break
		}
		if l.or != (no != nil) {
			continue // decided: true or …, false and …
		}
		var this error
		this, stop = l.term.eval(e)
		switch {
		case stop != nil && no != nil:
			stop = fmt.Errorf("%w; %w", no, stop)
		case this != nil && no != nil:
			no = fmt.Errorf("%w; %w", no, this)
		default:
			no = this
		}
	}
	return no, stop
}

func (c Call) eval(e *evaluation) (no, stop error) {
	if err := e.over(); err != nil {
		return nil, fmt.Errorf("%s: not tried: %w", c, err)
	}
	err := e.run(e.ctx, c)
	if err == nil {
		return nil, nil
	}
	over := e.over()
	switch {
	case over == nil:
		return fmt.Errorf("%s: %w", c, err), nil
	case errors.Is(err, over):
		return nil, fmt.Errorf("%s: %w", c, err)
	}
	return nil, fmt.Errorf("%s: %w: %w", c, over, err)
}
