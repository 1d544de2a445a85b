package check

import (
	"strings"
	"testing"
)

func TestStandingFits(t *testing.T) {
	master := standing{writable: true}
	replica := standing{replicates: true, of: "10.0.0.1:3306", lag: 7.25}
	writable, stopped, lost, reader := replica, replica, replica, standing{}
	writable.writable = true
	stopped.stopped = "a duplicate"
	lost.unknown = "it is not connected"
	for _, c := range []struct {
		s      standing
		role   string
		maxLag any
		want   string
	}{
		{master, "", nil, ""},
		{master, "master", nil, ""},
		{master, "master", 0, ""}, // a master has no lag
		{master, "replica", nil, "it replicates from nobody, expected a replica"},
		{replica, "", nil, ""},
		{replica, "replica", nil, ""},
		{replica, "replica", 8, ""},
		{replica, "replica", 7, "it is a replica of 10.0.0.1:3306 and lags 7.25 s behind, at most 7 s are allowed"},
		{replica, "", 7, "lags 7.25 s behind"},
		{replica, "master", nil, "it is a replica of 10.0.0.1:3306, expected a master"},
		// A replica that takes writes loses them: it is no master.
		{writable, "master", nil, "it is a replica of 10.0.0.1:3306, expected a master"},
		{writable, "replica", 10, ""},
		{stopped, "replica", nil, "it is a replica of 10.0.0.1:3306, and replication stands still: a duplicate"},
		{stopped, "", nil, "stands still: a duplicate"},
		{stopped, "replica", 100, "stands still: a duplicate"},
		{lost, "replica", nil, ""},
		{lost, "replica", 2592000, "it is a replica of 10.0.0.1:3306, and how far it lags behind is unknown: it is not connected"},
		{reader, "", nil, "neither master nor replica"},
		{reader, "master", nil, "it takes no writes, expected a master"},
		{reader, "replica", nil, "it replicates from nobody, expected a replica"},
		{standing{replicates: true}, "master", nil, "it is a replica, expected a master"},
	} {
		err := c.s.fits(c.role, c.maxLag)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v as %q, lag %v: %v, want %q", c.s, c.role, c.maxLag, err, c.want)
		}
	}
}

func TestRedisStanding(t *testing.T) {
	for info, want := range map[string]standing{
		"role:master\r\nconnected_slaves:0\r\n": {writable: true},
		"# Replication\r\nrole:slave\r\nmaster_host:::1\r\nmaster_port:6379\r\nmaster_link_status:down\r\nmaster_sync_in_progress:0\r\n": {replicates: true, of: "[::1]:6379"},
		"role:slave\nmaster_host:db\nmaster_sync_in_progress:1":                                                                          {replicates: true, of: "db", stopped: "it is still copying all data"},
	} {
		if got, err := redisStanding(info); err != nil || got != want {
			t.Errorf("%q: %+v, %v", info, got, err)
		}
	}
}

func TestPostgresStanding(t *testing.T) {
	row := func(values string) [][]byte {
		var row [][]byte
		for v := range strings.FieldsSeq(values) {
			if v == "NULL" {
				row = append(row, nil)
			} else {
				row = append(row, []byte(v))
			}
		}
		return row
	}
	for values, want := range map[string]standing{
		"f t f f NULL":    {writable: true},
		"f f f f 12.5":    {},
		"t f f t 1000.5":  {replicates: true}, // an idle master
		"t f f f 1000.5":  {replicates: true, lag: 1000.5},
		"t f f f NULL":    {replicates: true, unknown: "it has replayed no transaction since it started"},
		"t f t t 1000.5":  {replicates: true, stopped: "replay was paused"},
		"t f t f 0.00025": {replicates: true, stopped: "replay was paused", lag: 0.00025},
	} {
		if got, err := postgresStanding(row(values)); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", values, got, err, want)
		}
	}
	for _, values := range []string{"t f f f x", "t f", ""} {
		if got, err := postgresStanding(row(values)); err == nil {
			t.Errorf("%s: %+v", values, got)
		}
	}
}
