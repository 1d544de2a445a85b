package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// Kind says whose turn it is after a failure. The handler turns it into an HTTP
// status, the client turns that back.
type Kind int

// The kinds of a failure, with their HTTP statuses.
const (
	Internal    Kind = iota // 500: the daemon's fault, or an error nobody classified
	Invalid                 // 400: the request makes no sense, whatever the state
	NotFound                // 404: what it names is not there
	Conflict                // 409: it makes sense, but not with what is there
	Unavailable             // 504: something outside did not answer in time
)

// Error is a failure with its kind; its text is a sentence for the operator.
type Error struct {
	Kind Kind
	Err  error
}

// Errorf gives an error of kind k. The format may wrap with %w.
func Errorf(k Kind, format string, args ...any) error {
	return &Error{Kind: k, Err: fmt.Errorf(format, args...)}
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the error beneath.
func (e *Error) Unwrap() error { return e.Err }

// KindOf gives the kind of the first Error in err's chain. A deadline that
// passed is Unavailable, everything else Internal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Unavailable
	}
	return Internal
}

// status is the only place where kinds become HTTP.
func (k Kind) status() int {
	switch k {
	case Invalid:
		return http.StatusBadRequest
	case NotFound:
		return http.StatusNotFound
	case Conflict:
		return http.StatusConflict
	case Unavailable:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// kindOfStatus is the client's way back.
func kindOfStatus(status int) Kind {
	switch status {
	case http.StatusNotFound:
		return NotFound
	case http.StatusConflict:
		return Conflict
	case http.StatusGatewayTimeout, http.StatusServiceUnavailable:
		return Unavailable
	}
	if status >= 400 && status < 500 {
		return Invalid
	}
	return Internal
}
