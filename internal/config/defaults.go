package config

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
		RateSlip:    2,
		TLS:         TLS{Port: 853},
		MaxRecords:  10000,
		Static:      Static{TTL: defaultTTL},
		Socket:      DefaultSocket(),
		MaxIPNum:    8,
		NegativeTTL: 5 * time.Second,
		WorkingDir:  DefaultWorkingDir(),
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

// DefaultWorkingDir gives the folder where none is configured: /var, but for a
// service that does not run as root and has a StateDirectory= from systemd, that.
func DefaultWorkingDir() string {
	return defaultWorkingDir(os.Geteuid(), os.Getenv("STATE_DIRECTORY"))
}

func defaultWorkingDir(uid int, stateDir string) string {
	if uid != 0 && oneFolder(stateDir) {
		return stateDir
	}
	return "/var"
}

// DefaultSocket gives the path of the control socket where none is configured:
// /run/murakumo/murakumo.sock for root. For everybody else it is murakumo.sock in
// the RuntimeDirectory= of systemd if this is its service, in murakumo/ under
// $XDG_RUNTIME_DIR, or in a folder of the user's own among the temporary files if
// that is not set.
func DefaultSocket() string {
	return defaultSocket(os.Geteuid(), os.Getenv("RUNTIME_DIRECTORY"), os.Getenv("XDG_RUNTIME_DIR"), os.TempDir())
}

func defaultSocket(uid int, serviceDir, runtimeDir, tempDir string) string {
	const name = "murakumo.sock"
	switch {
	case uid == 0:
		return filepath.Join("/run/murakumo", name)
	case oneFolder(serviceDir):
		return filepath.Join(serviceDir, name)
	case filepath.IsAbs(runtimeDir):
		return filepath.Join(runtimeDir, "murakumo", name)
	}
	return filepath.Join(tempDir, "murakumo-"+strconv.Itoa(uid), name)
}

// oneFolder says whether a variable of systemd names one folder; it can name
// several.
func oneFolder(path string) bool { return filepath.IsAbs(path) && !strings.Contains(path, ":") }
