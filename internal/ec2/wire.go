package ec2

import (
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// fate says what an HTTP client's error means for the request. A name that does
// not exist and a certificate that proves nothing stay as they are for as long
// as anybody waits; nothing was sent in either case.
func fate(err error) Reply {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return Denied
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return Denied
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return Busy
	}
	return Unsure
}

// skew is what to add to this host's clock to get EC2's.
type skew struct{ nanos atomic.Int64 }

func (s *skew) get() time.Duration { return time.Duration(s.nanos.Load()) }

// set says whether it is the first one that is known.
func (s *skew) set(d time.Duration) bool { return s.nanos.Swap(int64(d)) == 0 }
