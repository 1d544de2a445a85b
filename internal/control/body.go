package control

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"murakumo/internal/catalog"
)

// recordsBody is the body of POST /v1/records as it came: pointers tell what is
// missing from what is zero. Defaults are the configuration's business.
type recordsBody struct {
	Records []recordBody `json:"records"`
}

type recordBody struct {
	Name     string  `json:"name"`
	TTL      *int64  `json:"ttl"`
	Priority *string `json:"priority"`
	Weight   *int64  `json:"weight"`
}

type hostsBody struct {
	Hosts []string `json:"hosts"`
}

// bodyOf is the client's way to the body, specs the server's way back.
func bodyOf(specs []RecordSpec) (b recordsBody) {
	for _, s := range specs {
		b.Records = append(b.Records, recordBody{
			Name: s.Name, TTL: new(int64(s.TTL)),
			Priority: new(strings.ToLower(s.Priority.String())), Weight: new(int64(s.Weight)),
		})
	}
	return b
}

func (b recordsBody) specs() ([]RecordSpec, error) {
	if len(b.Records) == 0 {
		return nil, errors.New("records: the list is empty")
	}
	seen := map[string]bool{}
	specs := make([]RecordSpec, 0, len(b.Records))
	for i, r := range b.Records {
		name, err := checkName(r.Name)
		switch {
		case err != nil:
			return nil, fmt.Errorf("records[%d].name: %w", i, err)
		case seen[name]:
			return nil, fmt.Errorf("records[%d].name: %q is named twice", i, name)
		case r.TTL == nil:
			return nil, fmt.Errorf("records[%d].ttl: missing", i)
		case *r.TTL < 0 || *r.TTL > catalog.MaxTTL:
			return nil, fmt.Errorf("records[%d].ttl: %d is not in 0 … %d", i, *r.TTL, catalog.MaxTTL)
		case r.Priority == nil:
			return nil, fmt.Errorf("records[%d].priority: missing", i)
		case r.Weight == nil:
			return nil, fmt.Errorf("records[%d].weight: missing", i)
		case *r.Weight < 1 || *r.Weight > math.MaxUint16:
			return nil, fmt.Errorf("records[%d].weight: %d is not in 1 … %d", i, *r.Weight, math.MaxUint16)
		}
		priority, err := catalog.ParsePriority(*r.Priority)
		if err != nil {
			return nil, fmt.Errorf("records[%d].%w", i, err)
		}
		seen[name] = true
		specs = append(specs, RecordSpec{
			Name: name, TTL: uint32(*r.TTL), Priority: priority, Weight: uint16(*r.Weight),
		})
	}
	return specs, nil
}

// checkName gives the name in lower case, or says why it is none.
func checkName(s string) (string, error) {
	name := catalog.LowerName(s)
	return name, catalog.ValidName(name)
}

// checkHost takes an address, a name, or either with a port.
func checkHost(s string) (string, error) {
	if _, err := netip.ParseAddr(s); err == nil {
		return s, nil
	}
	host := s
	if strings.Contains(s, ":") {
		h, port, err := net.SplitHostPort(s)
		if err != nil {
			return "", fmt.Errorf("host %q: expected an address or a name, with or without :port", s)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", fmt.Errorf("host %q: port %q is not in 1 … 65535", s, port)
		}
		if _, err := netip.ParseAddr(h); err == nil {
			return s, nil
		}
		host = h
	}
	if _, err := checkName(host); err != nil {
		return "", fmt.Errorf("host %q: %w", s, err)
	}
	return s, nil
}
