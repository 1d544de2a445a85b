//go:build !linux

package nameserver

import "errors"

// hasReader: each socket has a goroutine.
const hasReader = false

type reader struct{}

func (*reader) dial(*upSocket) (wire, error) { return nil, errors.ErrUnsupported }

func (*reader) close() {}

// descriptors is how many descriptors this process may have, as far as is known.
func descriptors() int { return 1024 }
