package config

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"murakumo/internal/failover"
)

// maxSocket is the longest path of a unix socket, in octets: sun_path without
// its closing NUL.
const maxSocket = 107

func defaults(path string) *Config {
	return &Config{
		Path:        path,
		Bind:        []netip.Addr{netip.IPv4Unspecified()},
		Port:        53,
		MaxRecords:  10000,
		Socket:      DefaultSocket(),
		MaxIPNum:    8,
		NegativeTTL: 5 * time.Second,
		WorkingDir:  "/var",
		Log:         Log{Level: slog.LevelInfo},
		Gossip: Gossip{
			Port:           10870,
			NodeLifetime:   10 * time.Second,
			SendInterval:   300 * time.Millisecond,
			ReceiveTimeout: 3 * time.Second,
		},
		HookTimeout: 60 * time.Second,
	}
}

func defaultHealthCheck(name string) HealthCheck {
	return HealthCheck{Name: name, Rule: failover.HealthRule{
		Interval: 5 * time.Second, Timeout: 5 * time.Second, Rise: 2, Fall: 2,
	}}
}

func defaultActivityCheck(name string) ActivityCheck {
	return ActivityCheck{Name: name, Rule: failover.DutyRule{
		StartDelay: 60 * time.Second, Interval: 10 * time.Second, Active: 2, Inactive: 2,
	}}
}

func defaultNotification() Notification {
	return Notification{
		Port:        25,
		Sender:      "murakumo@localhost.localdomain",
		OpenTimeout: 30 * time.Second,
		ReadTimeout: 60 * time.Second,
	}
}

func defaultWebhook() Webhook { return Webhook{Timeout: 30 * time.Second} }

// DefaultSocket gives the path of the control socket where none is configured:
// /run/murakumo/murakumo.sock for root, for everybody else
// murakumo/murakumo.sock in $XDG_RUNTIME_DIR, or in a folder of the user's own
// among the temporary files if that is not set.
func DefaultSocket() string {
	return defaultSocket(os.Geteuid(), os.Getenv("XDG_RUNTIME_DIR"), os.TempDir())
}

func defaultSocket(uid int, runtimeDir, tempDir string) string {
	const name = "murakumo.sock"
	switch {
	case uid == 0:
		return filepath.Join("/run/murakumo", name)
	case filepath.IsAbs(runtimeDir):
		return filepath.Join(runtimeDir, "murakumo", name)
	}
	return filepath.Join(tempDir, "murakumo-"+strconv.Itoa(uid), name)
}
