package expr

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var errDown = errors.New("down")

// world answers checks by port: odd ports are up, even ones are down. It notes
// what it was asked.
type world struct{ asked []int }

func (w *world) run(_ context.Context, c Call) error {
	p := c.Int("port")
	w.asked = append(w.asked, p)
	if p%2 == 0 {
		return errDown
	}
	return nil
}

// What Ruby 3.1 made of the same lines, with tcp_check giving true for odd
// ports: the value, and which checks it called.
func TestEvalAsRuby(t *testing.T) {
	for _, c := range []struct {
		src   string
		want  bool
		asked string
	}{
		{"tcp_check 1", true, "1"},
		{"tcp_check 2", false, "2"},
		{"tcp_check 1 or tcp_check 3 and tcp_check 2", false, "1 2"},
		{"tcp_check 1 or (tcp_check 3 and tcp_check 2)", true, "1"},
		{"tcp_check(1) || tcp_check(3) && tcp_check(2)", true, "1"},
		{"tcp_check 2 and tcp_check 1 or tcp_check 3", true, "2 3"},
		{"tcp_check 2 and tcp_check 1 or tcp_check 4", false, "2 4"},
		{"tcp_check 2 or tcp_check 1", true, "2 1"},
		{"tcp_check 1 and tcp_check 3", true, "1 3"},
		{"tcp_check(1) and tcp_check(2) || tcp_check(3)", true, "1 2 3"},
		{"not tcp_check 1", false, "1"},
		{"not tcp_check 2", true, "2"},
		{"not not tcp_check 1", true, "1"},
		{"not tcp_check 2 and tcp_check 1", true, "2 1"},
		{"not tcp_check(2) && tcp_check(4)", true, "2"},
		{"!tcp_check(2) && tcp_check(4)", false, "2 4"},
		{"!tcp_check 2 and tcp_check 1", true, "2 1"},
		{"not(tcp_check 1) && tcp_check(2)", false, "1"},
		{"not (tcp_check 1) && tcp_check(2)", true, "1 2"},
		{"not(tcp_check(2)) && tcp_check(4)", false, "2 4"},
		{"not (tcp_check 2) && tcp_check(4)", true, "2"},
		{"tcp_check(1) && not(tcp_check(2))", true, "1 2"},
		{"tcp_check(1) && !not(tcp_check(3))", true, "1 3"},
		{"not !(tcp_check 1) && tcp_check(2)", true, "1"},
		{"not not(tcp_check 1) && tcp_check(2)", true, "1"},
		{"not(tcp_check(1)) || tcp_check(3)", true, "1 3"},
		{"tcp_check(1) or not tcp_check(2)", true, "1"},
		{"tcp_check 1 and\n tcp_check 2", false, "1 2"},
		{"true and tcp_check 1", true, "1"},
		{"!true", false, ""},
		{"tcp_check 1; ; tcp_check 2", false, "1 2"},
		// Here Ruby gives true, the value of the last line; all must be true.
		{"tcp_check 1\ntcp_check 2\ntcp_check 3", false, "1 2"},
	} {
		w := &world{}
		err := mustParse(t, c.src).Eval(t.Context(), w.run)
		asked := strings.Trim(fmt.Sprint(w.asked), "[]")
		if (err == nil) != c.want || asked != c.asked {
			t.Errorf("%q: %v, asked %s, want %v, %s", c.src, err, asked, c.want, c.asked)
		}
	}
}

func TestEvalSaysWhy(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"tcp_check 2", "tcp_check 2: down"},
		{"tcp_check 1 and tcp_check 2", "tcp_check 2: down"},
		{"tcp_check 2 or tcp_check 4, '10.0.0.1'", "tcp_check 2: down; tcp_check 4, '10.0.0.1': down"},
		{"tcp_check 2 and tcp_check 1 or tcp_check 4", "tcp_check 2: down; tcp_check 4: down"},
		{"tcp_check 2 or tcp_check 1 and tcp_check 4", "tcp_check 4: down"},
		{"tcp_check 3\ntcp_check 2\ntcp_check 4", "tcp_check 2: down"},
		{"not tcp_check 1", "not tcp_check 1: it is good"},
		{"not (tcp_check 1 or tcp_check 2)", "not (tcp_check 1 or tcp_check 2): it is good"},
		{"false or tcp_check 2", "false is never true; tcp_check 2: down"},
	} {
		err := mustParse(t, c.src).Eval(t.Context(), (&world{}).run)
		if err == nil || err.Error() != c.want {
			t.Errorf("%q: %v, want %s", c.src, err, c.want)
		}
		if strings.Contains(c.want, "down") && !errors.Is(err, errDown) {
			t.Errorf("%q: the error does not wrap what the check said", c.src)
		}
	}
}

func TestEvalKeepsSecrets(t *testing.T) {
	for _, src := range []string{"mysql_check 'root', 'hunter2'", "not mysql_check 'root', 'hunter2'"} {
		for _, says := range []error{nil, errDown} {
			err := mustParse(t, src).Eval(t.Context(), func(context.Context, Call) error { return says })
			if err != nil && (strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "mysql_check 'root', '***'")) {
				t.Errorf("%v", err)
			}
		}
	}
}

func TestZeroScriptIsNeverTrue(t *testing.T) {
	if new(Script).Eval(t.Context(), nil) == nil {
		t.Error("a script that was never parsed is true")
	}
}

// After its time nothing is true and nothing more is tried.
func TestEvalStopsWithTheContext(t *testing.T) {
	for _, src := range []string{
		"tcp_check 2", "not tcp_check 2", "not not tcp_check 2",
		"tcp_check 2 or tcp_check 1", "tcp_check(2) || tcp_check(1)",
		"not tcp_check 2 and tcp_check 1", "not (tcp_check 2 and tcp_check 1)",
		"not tcp_check 2\ntcp_check 1",
		"tcp_check 4 or tcp_check 2 or tcp_check 1",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		w := &world{}
		err := mustParse(t, src).Eval(ctx, func(ctx context.Context, c Call) error {
			if c.Int("port") == 2 {
				cancel()
			}
			return w.run(ctx, c)
		})
		if !errors.Is(err, context.Canceled) || !errors.Is(err, errDown) || !strings.Contains(err.Error(), "tcp_check 2: context canceled: down") {
			t.Errorf("%q: %v", src, err)
		}
		if w.asked[len(w.asked)-1] != 2 {
			t.Errorf("%q: asked %v", src, w.asked)
		}
	}

	// A check that was good in time counts, but the next is not begun.
	ctx, cancel := context.WithCancel(t.Context())
	last := func(_ context.Context, c Call) error { cancel(); return nil }
	if err := mustParse(t, "tcp_check 1").Eval(ctx, last); err != nil {
		t.Error(err)
	}
	err := mustParse(t, "not tcp_check 1 or true and tcp_check 1").Eval(ctx, last)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "not tried") {
		t.Errorf("%v", err)
	}
}

// late is a context whose deadline has come while its timer has not run yet,
// as a probe's socket with the same deadline may see it.
type late struct{ context.Context }

func (late) Err() error { return nil }

func TestEvalKnowsTheDeadlineBeforeTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s := mustParse(t, "not tcp_check 2")
		for _, c := range []struct {
			wait time.Duration
			in   bool
		}{{999 * time.Millisecond, true}, {time.Millisecond, false}} {
			err := s.Eval(late{ctx}, func(context.Context, Call) error { time.Sleep(c.wait); return errDown })
			if c.in && err != nil || !c.in && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		}
	})
}

func Example() {
	script, err := Parse("tcp_check 80 and http_get '/', [200, 301]")
	if err != nil {
		fmt.Println(err)
		return
	}
	err = script.Eval(context.Background(), func(_ context.Context, c Call) error {
		fmt.Println(c.Name, c.Text("host"), c.Int("port"))
		if c.Name == "http_get" {
			return errors.New("status 503 Service Unavailable, expected 200, 301")
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// tcp_check 127.0.0.1 80
	// http_get 127.0.0.1 80
	// http_get '/', [200, 301]: status 503 Service Unavailable, expected 200, 301
}

func ExampleParse() {
	_, err := Parse("tcp_chek 80\ntcp_check 80 && tcp_check 81\nhttp_get '/', 200")
	fmt.Println(err)
	// Output:
	// line 1, column 1: unknown check tcp_chek; did you mean tcp_check?
	// line 2, column 14: `&&` would belong to the argument of tcp_check; write tcp_check(…) && …, or use `and`
	// line 3, column 15: http_get: statuses: expected an array of integers 200…599 such as [200, 301]; got an integer
}
