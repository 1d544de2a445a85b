package node

import (
	"cmp"
	"fmt"

	"murakumo/internal/action"
	"murakumo/internal/config"
)

// noticeRoutes gives the ways that notices take, none when the configuration
// has no notification.
func noticeRoutes(cfg *config.Config) ([]action.Route, error) {
	n := cfg.Notification
	if n == nil {
		return nil, nil
	}
	var routes []action.Route
	if n.Host != "" {
		roots, err := action.Roots(n.CAFile)
		if err != nil {
			return nil, err
		}
		routes, err = action.MailRoutes(action.MailConfig{
			Host: n.Host, Port: n.Port, TLS: mailTLS[n.TLS], Roots: roots,
			Helo: cmp.Or(n.Helo, cfg.Host.Name), Account: n.Account, Password: n.Password,
			Sender: n.Sender, Recipients: n.Recipients, OpenTimeout: n.OpenTimeout, ReadTimeout: n.ReadTimeout,
		})
		if err != nil {
			return nil, err
		}
	}
	var hooks []action.WebhookConfig
	for i, w := range n.Webhooks {
		roots, err := action.Roots(w.CAFile)
		if err != nil {
			return nil, fmt.Errorf("webhook %d: %w", i+1, err)
		}
		header := map[string]string{}
		for _, h := range w.Headers {
			header[h.Name] = h.Value
		}
		hooks = append(hooks, action.WebhookConfig{
			URL: w.URL, Secret: w.Secret, Header: header, Roots: roots, Timeout: w.Timeout,
		})
	}
	posts, err := action.WebhookRoutes(hooks)
	return append(routes, posts...), err
}

var mailTLS = map[config.MailTLS]action.TLSMode{
	config.TLSAuto: action.TLSAuto, config.TLSRequired: action.TLSRequired, config.TLSImplicit: action.TLSImplicit,
}
