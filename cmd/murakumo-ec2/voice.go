package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"murakumo/internal/ec2"
)

// The program's voice, which is mrkmctl's:
//
//   - What was asked for goes to stdout, and nothing else does. All talk goes to
//     stderr, also the warnings of a command that did its work.
//   - "murakumo-ec2: …" and status 2: the command line makes no sense, and
//     nobody was asked anything.
//   - "error: …" and another status: it made sense and failed; the sentence says
//     what was tried, on what, and what to do where we know.
//   - events is a monitoring check, whose system reads stdout: there even a
//     failure is one line on stdout, with status 3.
//   - Lower case, no full stop at the end, no colours.
type voice struct{ out, err io.Writer }

// data prints what was asked for.
func (v voice) data(text string) error {
	if _, err := io.WriteString(v.out, text); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// json prints a value for programs.
func (v voice) json(value any) error {
	b, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return v.data(string(b) + "\n")
}

func (v voice) talk(text string) { fmt.Fprintln(v.err, text) }

func (v voice) warn(text string) { v.talk("warning: " + text) }

func (v voice) misuse(err error) int {
	// For a single letter kong guesses all others.
	said, _, _ := strings.Cut(err.Error(), ", did you mean one of ")
	v.talk("murakumo-ec2: " + said + " (murakumo-ec2 --help shows the usage)")
	return misused
}

func (v voice) failure(err error) int {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		v.talk("error: " + line)
	}
	return failed
}

// unknown is the failure of a monitoring check.
func (v voice) unknown(err error) int {
	v.data(ec2.UnknownLine(err) + "\n")
	return unknown
}
