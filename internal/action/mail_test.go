package action

import (
	"strings"
	"testing"
)

func TestMailRoutesRefuse(t *testing.T) {
	good := MailConfig{Host: "mail.example", Sender: "a@example.org", Recipients: []string{ops, boss}}
	routes, err := MailRoutes(good)
	if err != nil || len(routes) != 2 || routes[0].To != ops || routes[1].To != boss || routes[0].Key == routes[1].Key {
		t.Fatalf("%+v, %v", routes, err)
	}
	for want, change := range map[string]func(*MailConfig){
		"no host":         func(c *MailConfig) { c.Host = "" },
		"sender":          func(c *MailConfig) { c.Sender = "a@b\r\nRCPT TO:<c@d>" },
		"no recipients":   func(c *MailConfig) { c.Recipients = nil },
		"recipient \"x\"": func(c *MailConfig) { c.Recipients = []string{ops, "x"} },
	} {
		cfg := good
		change(&cfg)
		if _, err := MailRoutes(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want …%s…", err, want)
		}
	}
}
