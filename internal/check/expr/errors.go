package expr

import (
	"fmt"
	"strings"
)

// Error is one mistake in a script.
type Error struct {
	// Line and Column count from 1, columns in characters, not in bytes.
	Line, Column int
	// Msg says what is wrong and what to write instead. It never repeats the
	// text of a string, because that may be a password.
	Msg string
}

// Error gives the place and the message.
func (e Error) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Msg)
}

// ParseError is what [Parse] returns: every mistake that it found, in the
// order of the text, at least one.
type ParseError struct {
	Errors []Error
}

// Error gives one mistake per line.
func (e *ParseError) Error() string {
	lines := make([]string, len(e.Errors))
	for i, one := range e.Errors {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}
