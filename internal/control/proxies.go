package control

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Proxy is a listener of the load balancer with its figures since the daemon
// started it.
type Proxy struct {
	Name      string         `json:"name"`
	Network   string         `json:"network"` // tcp or udp
	Listen    netip.AddrPort `json:"listen"`
	Algorithm string         `json:"algorithm"`
	// To is the alias with its port; empty for a fixed list.
	To string `json:"to,omitempty"`
	// Error says why it does not listen.
	Error string `json:"error,omitempty"`
	// Unresolved says which names of a list could not be looked up, and why.
	Unresolved []string `json:"unresolved,omitempty"`
	// Open connections, all that were accepted, and those that no backend took.
	Open     int64          `json:"open"`
	Total    int64          `json:"total"`
	Rejected int64          `json:"rejected"`
	Backends []ProxyBackend `json:"backends"`
}

// ProxyBackend is a backend of a listener.
type ProxyBackend struct {
	Address netip.AddrPort `json:"address"`
	Name    string         `json:"name,omitempty"` // as in the file
	Weight  int            `json:"weight"`
	// Status is up, failing (connections to it fail; it is left alone until
	// Retry) or sick (its check fails); Error says why.
	Status string    `json:"status"`
	Retry  time.Time `json:"retry,omitzero"`
	Error  string    `json:"error,omitempty"`
	// Open connections, all that were opened, and those that could not be.
	Open     int64 `json:"open"`
	Total    int64 `json:"total"`
	Failures int64 `json:"failures"`
	// Octets to the backend and from it.
	Sent     int64 `json:"sent"`
	Received int64 `json:"received"`
	// Connect is the mean time that opening a connection took, in seconds.
	Connect float64 `json:"connect"`
}

type proxiesAnswer struct {
	Proxies []Proxy `json:"proxies"`
}

func (h *handler) listProxies(http.ResponseWriter, *http.Request, url.Values) (any, error) {
	proxies := h.node.Proxies()
	if proxies == nil {
		proxies = []Proxy{}
	}
	return proxiesAnswer{proxies}, nil
}

// Proxies gives the listeners of the asked node, in the order of the file.
func (c *Client) Proxies(ctx context.Context) ([]Proxy, error) {
	var answer proxiesAnswer
	err := c.call(ctx, answerPatience, http.MethodGet, "/v1/proxies", nil, &answer)
	return answer.Proxies, err
}

// ProxiesText gives the listeners as people read them: a line for each, and
// under it one for each of its backends.
func ProxiesText(proxies []Proxy) string {
	if len(proxies) == 0 {
		return "No listeners\n"
	}
	rows := [][]string{{"Listener", "Address", "State", "Weight", "Open", "Total", "Failed", "Sent", "Received", "Connect"}}
	var notes []string
	for _, p := range proxies {
		state := "listens"
		if p.Error != "" {
			state = "down"
			notes = append(notes, p.Name+": "+p.Error)
		}
		rows = append(rows, []string{p.Name, p.Listen.String(), state, "-", count(p.Open), count(p.Total), count(p.Rejected), "-", "-", "-"})
		for _, why := range p.Unresolved {
			notes = append(notes, p.Name+": "+why)
		}
		if len(p.Backends) == 0 {
			what := "no backend: none of the names could be resolved yet"
			if p.To != "" {
				what = "no backend: the table has no Active record for " + p.To
			}
			notes = append(notes, p.Name+": "+what)
		}
		for _, b := range p.Backends {
			connect := "-"
			if b.Total > 0 {
				connect = time.Duration(b.Connect * float64(time.Second)).Round(10 * time.Microsecond).String()
			}
			rows = append(rows, []string{"", b.Address.String(), b.Status, strconv.Itoa(b.Weight), count(b.Open), count(b.Total), count(b.Failures),
				octets(b.Sent), octets(b.Received), connect})
			if b.Error != "" {
				notes = append(notes, fmt.Sprintf("%s: %s: %s", p.Name, b.Address, b.Error))
			}
		}
	}
	width := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, cell := range r {
			width[i] = max(width[i], len(cell))
		}
	}
	var out strings.Builder
	for _, r := range rows {
		var line strings.Builder
		for i, cell := range r {
			if i < 3 { // words to the left, figures to the right
				fmt.Fprintf(&line, "%-*s  ", width[i], cell)
			} else {
				fmt.Fprintf(&line, "%*s  ", width[i], cell)
			}
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	for _, n := range notes {
		out.WriteString(n + "\n")
	}
	return out.String()
}

func count(n int64) string { return strconv.FormatInt(n, 10) }

// octets gives an amount in three figures or so.
func octets(n int64) string {
	for i, unit := range []string{"", "k", "M", "G", "T", "P"} {
		if n < 10_000 || i == 5 {
			return strconv.FormatInt(n, 10) + unit
		}
		n /= 1000
	}
	return ""
}
