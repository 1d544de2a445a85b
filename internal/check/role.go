package check

import (
	"errors"
	"fmt"
	"net"
	"strconv"
)

// standing is what a database server says of its part in replication.
type standing struct {
	// replicates: it takes its data from another server, or is set up to.
	replicates bool
	of         string // the address of that server, if known
	// writable: it takes writes from clients.
	writable bool
	// stopped says why replication does not go on, "" if it does. That its
	// master cannot be reached is no reason: then every replica would be bad
	// with a dead master, and nobody left to read from. Whom that matters
	// gives a greatest lag.
	stopped string
	// lag is how old the data may be, in seconds; unknown says why there is no
	// such number.
	lag     float64
	unknown string
}

// fits compares with the role that a check wants: "master", "replica", or ""
// for either. maxLag is nil or the seconds that a replica may lag behind.
func (s standing) fits(role string, maxLag any) error {
	switch {
	case role == "master" && s.replicates:
		return fmt.Errorf("it is a replica%s, expected a master", s.by())
	case role == "master" && !s.writable:
		return errors.New("it takes no writes, expected a master")
	case role == "replica" && !s.replicates:
		return errors.New("it replicates from nobody, expected a replica")
	case !s.replicates && !s.writable:
		return errors.New("it takes no writes and replicates from nobody: neither master nor replica")
	case !s.replicates:
		return nil
	case s.stopped != "":
		return fmt.Errorf("it is a replica%s, and replication stands still: %s", s.by(), s.stopped)
	}
	most, limited := maxLag.(int)
	switch {
	case limited && s.unknown != "":
		return fmt.Errorf("it is a replica%s, and how far it lags behind is unknown: %s", s.by(), s.unknown)
	case limited && s.lag > float64(most):
		return fmt.Errorf("it is a replica%s and lags %s s behind, at most %d s are allowed",
			s.by(), strconv.FormatFloat(s.lag, 'g', 4, 64), most)
	}
	return nil
}

func (s standing) by() string {
	if s.of == "" {
		return ""
	}
	return " of " + s.of
}

// hostPortText joins what a server says of another; either may be missing.
func hostPortText(host, port string) string {
	if host == "" || port == "" {
		return clean(host)
	}
	return clean(net.JoinHostPort(host, port))
}
