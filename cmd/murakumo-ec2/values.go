package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// A span is a time above 0: seconds, Go's 1m30s, or days as 7d. Its zero value
// is "not given".
type span time.Duration

const spanForm = "a time like 90, 90s, 2m or 7d"

// Decode reads it.
func (s *span) Decode(ctx *kong.DecodeContext) error {
	var text string
	if err := ctx.Scan.PopValueInto("duration", &text); err != nil {
		return err
	}
	d, err := parseSpan(text)
	if err != nil {
		return err
	}
	if d <= 0 {
		return fmt.Errorf("%q: expected %s, above 0", text, spanForm)
	}
	*s = span(d)
	return nil
}

func parseSpan(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err == nil && n >= 0 && n <= 10000 {
			return time.Duration(n * float64(24*time.Hour)), nil
		}
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil && n >= 0 && n <= 1e9 && !math.IsNaN(n) {
		return time.Duration(n * float64(time.Second)), nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return d, nil
	}
	return 0, fmt.Errorf("%q: expected %s", text, spanForm)
}

// A patience is a span, 0 or "never".
type patience time.Duration

const never = patience(-1)

// Decode reads it.
func (p *patience) Decode(ctx *kong.DecodeContext) error {
	var text string
	if err := ctx.Scan.PopValueInto("duration", &text); err != nil {
		return err
	}
	if text == "never" {
		*p = never
		return nil
	}
	d, err := parseSpan(text)
	*p = patience(d)
	if err != nil {
		return errors.New(strings.Replace(err.Error(), "2m or 7d", "2m, or never", 1))
	}
	return nil
}
