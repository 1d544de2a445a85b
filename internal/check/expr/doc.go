// Package expr is the language of a health check's script: calls of known
// checks, joined by and, or and not.
//
//	script, err := expr.Parse("tcp_check 80 and http_get '/', [200, 301]")
//	...
//	err = script.Eval(ctx, func(ctx context.Context, c expr.Call) error {
//		return probe(ctx, c.Name, c.Text("host"), c.Int("port"))
//	})
//
// The language is the part of Ruby that old scripts were written in, so that a
// file can be kept as it is. A line that both accept means the same in both,
// down to which checks are called and in which order. One thing differs: Ruby
// judges a script by its last line, we ask that every line is true. (We also
// read a few lines that Ruby refuses, such as an `and` at the beginning of a
// line between brackets.)
//
//	script  = line { separator line }              newline or ;
//	line    = negated { ( "and" | "or" ) negated }  equal rank, from left to right
//	negated = "not" negated | either
//	either  = both { "||" both }
//	both    = single { "&&" single }
//	single  = "!" single | "(" line ")" | "not(" line ")" | "true" | "false" | call
//	call    = name [ "(" values ")" | values ]
//	value   = string | integer | "[" values "]" | "nil" | "true" | "false"
//
// A call without parentheses takes everything up to and, or and the end of the
// line as its arguments; in Ruby that includes && and ||, which would turn
// "tcp_check 80 && tcp_check 81" into a check of one odd port. Such lines are
// refused with a sentence instead.
//
// The package knows the names and parameters of the checks (see [Signatures])
// and nothing of sockets: the configuration, and mrkmctl -t with it, judge a
// script without linking a single driver. Package check runs the calls.
//
// Why this is a parser of our own is told in
// docs/decisions/0001-check-language.md.
package expr
