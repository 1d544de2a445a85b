package ec2

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// An APIError is EC2's own answer that it did not do what was asked.
type APIError struct {
	Action    string
	Code      string // as in "Error codes for the Amazon EC2 API"
	Message   string
	RequestID string // what AWS support asks for; "" if the reply had none
	Status    int    // of HTTP
	Region    string // that was asked
	Keys      string // where the credentials came from, never a secret
}

// Error says what was asked, what EC2 answered, and what to do where we know.
func (e *APIError) Error() string {
	text := e.Action + ": " + e.Code
	// An authorization failure ends with a blob of some hundred characters.
	message, _, cut := strings.Cut(e.Message, "Encoded authorization failure message:")
	if message = strings.TrimRight(strings.TrimSpace(message), "."); message != "" {
		text += ": " + message
	}
	if cut {
		text += " (--verbose shows the encoded reason)"
	}
	if e.RequestID != "" {
		text += " (request id " + e.RequestID + ")"
	}
	if hint := e.hint(); hint != "" {
		text += "; " + hint
	}
	return text
}

// hint says what to do, "" if the answer speaks for itself.
func (e *APIError) hint() string {
	switch {
	case e.Code == "UnauthorizedOperation":
		return fmt.Sprintf("the credentials (%s) need the permission ec2:%s", e.Keys, e.Action)
	case slices.Contains([]string{"AuthFailure", "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException", "IncompleteSignature"}, e.Code):
		return fmt.Sprintf("the access key or its secret is wrong, not active, or of another partition; they are %s", e.Keys)
	case e.Code == "ExpiredToken" || e.Code == "RequestExpired":
		return fmt.Sprintf("the credentials (%s) have expired, or this host's clock is wrong: compare it with `chronyc tracking`", e.Keys)
	case e.Code == "OptInRequired":
		return "the account has not enabled the region " + e.Region
	case e.throttled():
		return "EC2 limits how often this account may ask in " + e.Region + ": ask less often, or give --timeout more time"
	case e.Code == "AttachmentLimitExceeded":
		return "the instance's type allows no further interface: detach one, or take a larger type"
	case e.Code == "PrivateIpAddressLimitExceeded":
		return "the interface has as many addresses as the instance's type allows"
	case strings.HasSuffix(e.Code, ".NotFound") && e.Code != "InvalidAttachmentID.NotFound":
		return "is the id right, and is it in the region " + e.Region + "?"
	case e.Code == "InvalidAction":
		return "no such action in this API: actions are written like DescribeInstances"
	case strings.Contains(e.Message, "at device index"):
		return "choose another index with -d"
	}
	return ""
}

// throttled says whether EC2 refused only because it is asked too much: nothing
// was done, and the same request will do later.
func (e *APIError) throttled() bool {
	return slices.Contains([]string{
		"RequestLimitExceeded", "Throttling", "ThrottlingException", "RequestThrottled", "RequestThrottledException",
		"EC2ThrottledException", "TooManyRequestsException", "BandwidthLimitExceeded", "SlowDown",
	}, e.Code) || e.Status == http.StatusTooManyRequests
}

// broken says whether the server failed; it may have done what was asked.
func (e *APIError) broken() bool {
	return e.Status >= 500 || slices.Contains([]string{"InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable"}, e.Code)
}

// skewed says whether the answer may be due to the time in the signature.
func (e *APIError) skewed() bool {
	return slices.Contains([]string{"RequestExpired", "RequestTimeTooSkewed", "AuthFailure", "SignatureDoesNotMatch", "InvalidSignatureException"}, e.Code)
}

// A SendError is a request without an answer, or with one that is not EC2's.
type SendError struct {
	Action   string
	Endpoint string
	Err      error
	// Fate is what that means for the request: Unsure, Busy if EC2 surely never
	// saw it, Odd or Denied if there is no point in sending it again.
	Fate Reply
}

// Error says whom we asked and what came instead of an answer.
func (e *SendError) Error() string {
	return fmt.Sprintf("%s: no answer from %s: %v", e.Action, e.Endpoint, e.Err)
}

// Unwrap gives the network's error.
func (e *SendError) Unwrap() error { return e.Err }

// code gives the code of EC2's answer, "" for any other error.
func code(err error) string {
	if e, ok := errors.AsType[*APIError](err); ok {
		return e.Code
	}
	return ""
}

// allowed says whether this is the answer to a dry run that would have worked.
func allowed(err error) bool { return code(err) == "DryRunOperation" }

// A Reply is how a request ended that was to change something.
type Reply uint8

// The replies, from the point of view of who has to decide what to do next.
const (
	Done    Reply = iota + 1 // EC2 said that it did it
	Unsure                   // no answer: it may have been done
	Busy                     // throttled or not sent: not done, later it may be
	Refused                  // not in this state of things, which may have changed since we read it
	Odd                      // an answer that we do not know; asking again may help, or not
	Denied                   // never, whatever the state
)

// String gives the word that the stories use.
func (r Reply) String() string {
	return [...]string{"?", "done", "unsure", "busy", "refused", "odd", "denied"}[min(int(r), 6)]
}

// The codes are those of "Error codes for the Amazon EC2 API"
// (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html).
var (
	refusals = []string{
		"InvalidNetworkInterface.InUse", "IncorrectState", "IncorrectInstanceState", "InvalidAttachmentID.NotFound",
		"InvalidAttachment.NotFound", "Resource.AlreadyAssociated", "InvalidAssociationID.NotFound",
		"InvalidIPAddress.InUse", "RouteAlreadyExists", "InvalidRoute.NotFound",
	}
	denials = []string{
		"UnauthorizedOperation", "AuthFailure", "Blocked", "OptInRequired", "PendingVerification", "OperationNotPermitted",
		"UnsupportedOperation", "InvalidParameterCombination", "MissingParameter", "UnknownParameter", "InvalidAction",
		"ExpiredToken", "RequestExpired", "InvalidClientTokenId", "SignatureDoesNotMatch", "InvalidClientToken",
	}
)

// reply says how a request ended.
func reply(err error) Reply {
	e, ok := errors.AsType[*APIError](err)
	switch {
	case err == nil:
		return Done
	case !ok:
		if send, ok := errors.AsType[*SendError](err); ok {
			return send.Fate
		}
		return Denied // no credentials, a bad request: nothing went out
	case e.throttled():
		return Busy
	case slices.Contains(refusals, e.Code):
		return Refused
	case e.broken():
		return Unsure
	case slices.Contains(denials, e.Code), strings.HasSuffix(e.Code, ".Malformed"), strings.HasSuffix(e.Code, ".NotFound"), strings.HasSuffix(e.Code, "LimitExceeded"):
		return Denied
	}
	return Odd
}
