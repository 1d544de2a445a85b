package config

import (
	"strings"
	"testing"
	"time"
)

// Each attribute is the key of its name, with that key's bounds.
func TestAttributes(t *testing.T) {
	for _, c := range []struct{ name, byDefault, good, reads, bad, reason string }{
		{"node_lifetime", "10", "500ms", "0.5", "0.4", "expected seconds or a duration such as 250ms, 0.5…300, found \"0.4\""},
		{"node_lifetime", "10", "300", "300", "5m1s", "0.5…300"},
		{"send_interval", "0.3", "0.01", "0.01", "0.009", "0.01…30"},
		{"send_interval", "0.3", "30", "30", "often", "0.01…30"},
		{"receive_timeout", "3", "0.1", "0.1", "0", "0.1…300"},
		{"receive_timeout", "3", "1m30s", "90", "301", "0.1…300"},
		{"log_level", "info", "DEBUG", "debug", "loud", "expected debug, info, warn, error or fatal"},
		{"log_level", "info", "fatal", "fatal", "debugg", `did you mean "debug"`},
	} {
		cfg := defaults("f")
		if got, err := cfg.Attribute(c.name); got != c.byDefault || err != nil {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.byDefault)
		}
		if err := cfg.SetAttribute(c.name, c.good); err != nil {
			t.Errorf("%s=%s: %v", c.name, c.good, err)
		}
		if got, _ := cfg.Attribute(c.name); got != c.reads {
			t.Errorf("%s=%s: reads %q, want %q", c.name, c.good, got, c.reads)
		}
		if err := cfg.SetAttribute(c.name, c.bad); err == nil || !strings.HasPrefix(err.Error(), c.name+": ") || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s=%s: %v, want it to say %q", c.name, c.bad, err, c.reason)
		}
		if got, _ := cfg.Attribute(c.name); got != c.reads {
			t.Errorf("%s=%s was refused, but it is %q now", c.name, c.bad, got)
		}
	}
	if got := strings.Join(AttributeNames(), " "); got != "node_lifetime send_interval receive_timeout log_level" {
		t.Errorf("attributes: %s", got)
	}
}

func TestAttributeThatIsNone(t *testing.T) {
	cfg := defaults("f")
	for _, name := range []string{"gossip-node-lifetime", "node_lifetimes", "port", ""} {
		if _, err := cfg.Attribute(name); err == nil || !strings.Contains(err.Error(), "expected one of node_lifetime, send_interval, receive_timeout, log_level") {
			t.Errorf("get %q: %v", name, err)
		}
		if err := cfg.SetAttribute(name, "5"); err == nil {
			t.Errorf("set %q: no error", name)
		}
	}
	if cfg.Gossip.NodeLifetime != 10*time.Second {
		t.Error(cfg.Gossip)
	}
}

func TestParseAttribute(t *testing.T) {
	if name, value, err := ParseAttribute(" send_interval = 0.5 "); name != "send_interval" || value != "0.5" || err != nil {
		t.Errorf("%q %q %v", name, value, err)
	}
	for text, reason := range map[string]string{
		"node_lifetime":     "expected name=value",
		"node_lifetime=":    "expected name=value",
		"=5":                "expected name=value",
		"node_lifetime=5=6": `found "5=6"`,
		"lifetime=5":        "no attribute",
	} {
		if _, _, err := ParseAttribute(text); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v, want it to say %q", text, err, reason)
		}
	}
}
