package optparse

import (
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func TestExpand(t *testing.T) {
	names := []string{"help", "port", "gossip-port", "gossip-node-lifetime", "delete", "delete-node", "host"}
	for _, c := range []struct{ in, want, err string }{
		{"--port 5", "--port 5", ""},
		{"--po=5 --gossip-p 6 x", "--port=5 --gossip-port 6 x", ""},
		{"--del a --delete-n=b", "--delete a --delete-node=b", ""},
		{"--gossip- 1", "", "--gossip-: can mean --gossip-port or --gossip-node-lifetime"},
		{"--h", "", "--h: can mean --help or --host"},
		{"--prot=1", "--prot=1", ""},
		{"-p 5 -- --po", "-p 5 -- --po", ""},
	} {
		got, err := Expand(strings.Fields(c.in), names)
		if err != nil && err.Error() != c.err || (err == nil) != (c.err == "") || !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("%s: got %q, %v; want %q, %q", c.in, got, err, c.want, c.err)
		}
	}
	in := []string{"--po=5"}
	if _, err := Expand(in, names); err != nil || in[0] != "--po=5" {
		t.Errorf("the arguments were changed: %q, %v", in, err)
	}
}

// setting is a flag as the programs have them.
type setting string

func (s *setting) Decode(ctx *kong.DecodeContext) error {
	text, err := Value(ctx)
	*s = setting(text)
	return err
}

func TestValue(t *testing.T) {
	for _, c := range []struct {
		args []string
		want setting
		err  bool
	}{
		{[]string{"-p", "5"}, "5", false},
		{[]string{"-p5"}, "5", false},
		{[]string{"--port", "5"}, "5", false},
		{[]string{"--port=5"}, "5", false},
		{[]string{"--port=-x"}, "-x", false},
		{[]string{"--port=a,b=c"}, "a,b=c", false},
		{[]string{"--port="}, "", true},
		{[]string{"-p", "-1"}, "-1", false},
		{[]string{"-p", "-.5"}, "-.5", false},
		{[]string{"-p", "-q"}, "", true},
		{[]string{"-p"}, "", true},
		{[]string{"-p", ""}, "", true},
		{[]string{"--port", "--quiet"}, "", true},
		{[]string{"-qp5"}, "5", false},
	} {
		var f struct {
			Port  setting `short:"p"`
			Quiet bool    `short:"q"`
		}
		parser, err := kong.New(&f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = parser.Parse(c.args); f.Port != c.want && err == nil || (err != nil) != c.err {
			t.Errorf("%q: got %q, %v; want %q", c.args, f.Port, err, c.want)
		}
	}
}
