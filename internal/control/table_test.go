package control

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"murakumo/internal/catalog"
)

// lines gives a table in few characters, for comparing.
func lines(table []Record) string {
	var b strings.Builder
	for _, r := range table {
		mark := " "
		if r.Own {
			mark = "*"
		}
		fmt.Fprintf(&b, "%s %s %s %s %d %s\n", mark, r.Address, r.Name, r.Priority, r.Weight, r.Activity)
	}
	return b.String()
}

func TestTableOwnFirstThenByNumber(t *testing.T) {
	n := fourRecords(t)
	six := netip.MustParseAddr("fd00::9")
	nine := netip.MustParseAddr("10.0.0.9")
	n.hear(t, nine,
		catalog.Record{Name: "zeta", Addr: nine, TTL: 60, Priority: catalog.Origin, Active: true},
		catalog.Record{Name: "zeta", Addr: six, TTL: 60, Priority: catalog.Origin, Active: true},
		catalog.Record{Name: "alpha", Addr: nine, TTL: 60, Priority: catalog.Secondary, Weight: 7})
	want := strings.TrimLeft(`
* 10.0.0.133 mysql-server master 100 active
* 10.0.0.133 server-01 origin 0 active
  10.0.0.9 alpha secondary 7 inactive
  10.0.0.9 zeta origin 0 active
  10.0.0.55 mysql-server backup 100 active
  10.0.0.55 server-02 origin 0 active
  fd00::9 zeta origin 0 active
`, "\n")
	if got := lines(Table(n.View())); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestRecordJSON(t *testing.T) {
	for _, c := range []struct {
		r    catalog.Record
		want string
	}{
		{catalog.Record{Name: "web", Addr: peer, TTL: 5, Priority: catalog.Backup, Weight: 3, Duty: catalog.DutyActive, Transition: 9},
			`{"owner":"10.0.0.55","own":false,"address":"10.0.0.55","name":"web","ttl":5,"priority":"backup","weight":3,"activity":"inactive","duty":"active","transition":9}`},
		{catalog.Record{Name: "server-02", Addr: peer, Priority: catalog.Origin, Active: true},
			`{"owner":"10.0.0.55","own":false,"address":"10.0.0.55","name":"server-02","ttl":0,"priority":"origin","activity":"active","duty":"undefined","transition":0}`},
	} {
		got, err := json.Marshal(recordOf(self, peer, c.r))
		if err != nil || string(got) != c.want {
			t.Errorf("got  %s, %v\nwant %s", got, err, c.want)
		}
	}
}

func TestMembers(t *testing.T) {
	n := fourRecords(t)
	silent := netip.MustParseAddr("10.0.0.7")
	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	n.SetStatus(silent, catalog.Dead, at)
	n.SetStatus(peer, catalog.Left, at)
	got, err := json.Marshal(Members(n.View()))
	want := `[{"address":"10.0.0.7","own":false,"status":"dead","since":"2026-11-23T01:02:03Z","records":0},` +
		`{"address":"10.0.0.55","own":false,"name":"server-02","status":"left","since":"2026-11-23T01:02:03Z","records":2},` +
		`{"address":"10.0.0.133","own":true,"name":"server-01","status":"alive","records":2}]`
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
}

func TestPhrase(t *testing.T) {
	table := Table(fourRecords(t).View())
	for _, c := range []struct{ phrase, names string }{
		{"", "mysql-server server-01 mysql-server server-02"},
		{"mysql", "mysql-server mysql-server"},
		{"MySQL", "mysql-server mysql-server"},
		{"server", "server-01 server-02"},
		{"sql", ""},
		{"10.0.0.1", "mysql-server server-01"},
		{"0.0.0", ""},
		{"backup|master", "mysql-server mysql-server"},
		{"Origin$", "server-01 server-02"},
		{"active", "mysql-server server-01 mysql-server server-02"},
		{"inactive", ""},
		{"ctive", ""},
		{`\Qserver-0`, "server-01 server-02"},
		{".*02", "server-02"},
	} {
		p, err := ParsePhrase(c.phrase)
		if err != nil {
			t.Errorf("%q: %v", c.phrase, err)
			continue
		}
		var names []string
		for _, r := range table {
			if p.Match(r) {
				names = append(names, r.Name)
			}
		}
		if got := strings.Join(names, " "); got != c.names {
			t.Errorf("%q: got %q, want %q", c.phrase, got, c.names)
		}
	}
	for _, bad := range []string{"(", "a)|(b", "*", "[", `\`, "a{2000}"} {
		if _, err := ParsePhrase(bad); err == nil {
			t.Errorf("%q: taken for a regular expression", bad)
		} else if !strings.Contains(err.Error(), "is no regular expression") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A phrase that chooses what is active must not choose what merely ends so.
func TestPhraseActiveIsNotInactive(t *testing.T) {
	p, err := ParsePhrase("active")
	if err != nil {
		t.Fatal(err)
	}
	r := recordOf(self, self, catalog.Record{Name: "web", Addr: self, Priority: catalog.Master, Weight: 1})
	if p.Match(r) {
		t.Error("active chose an inactive record")
	}
}

func TestTableText(t *testing.T) {
	want := strings.TrimLeft(`
  IP address       TTL     Priority   Weight  Activity  Hostname
  ---------------  ------  ---------  ------  --------  ----------
* 10.0.0.133           60  Master        100  Active    mysql-server
* 10.0.0.133           60  Origin          -  Active    server-01
  10.0.0.55            60  Backup        100  Active    mysql-server
  10.0.0.55            60  Origin          -  Active    server-02
`, "\n")
	if got := TableText(Table(fourRecords(t).View())); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	elsewhere := []Record{{Address: self, Own: true, Name: "www", TTL: 60, Priority: "master", Weight: 1, Activity: "active", CNAME: "web.example."}}
	if got, want := TableText(elsewhere), "* 10.0.0.133           60  Master          1  Active    www -> web.example.\n"; !strings.HasSuffix(got, want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := TableText(nil); got != "No match\n" {
		t.Errorf("an empty table: %q", got)
	}
}
