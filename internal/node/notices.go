package node

import (
	"cmp"

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
	return action.MailRoutes(action.MailConfig{
		Host: n.Host, Port: n.Port, Helo: cmp.Or(n.Helo, cfg.Host.Name), Account: n.Account, Password: n.Password,
		Sender: n.Sender, Recipients: n.Recipients, OpenTimeout: n.OpenTimeout, ReadTimeout: n.ReadTimeout,
	})
}
