package check

import (
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// What servers of all kinds say.
func TestMySQLStandings(t *testing.T) {
	unknown := &mysql.MySQLError{Number: 1064, Message: "You have an error in your SQL syntax"}
	const first = "SELECT @@GLOBAL.read_only AS read_only, @@version AS version"
	server := func(readOnly, version string) []map[string]string {
		return []map[string]string{{"read_only": readOnly, "version": version}}
	}
	newer := map[string]string{"Source_Host": "10.0.0.1", "Source_Port": "3306", "Replica_IO_Running": "Yes", "Replica_SQL_Running": "Yes", "Seconds_Behind_Source": "7"}
	older := map[string]string{"Master_Host": "10.0.0.1", "Master_Port": "3306", "Slave_IO_Running": "Yes", "Slave_SQL_Running": "Yes", "Seconds_Behind_Master": "7"}
	with := func(row map[string]string, pairs ...string) map[string]string {
		row = maps.Clone(row)
		for i := 0; i < len(pairs); i += 2 {
			row[pairs[i]] = pairs[i+1]
		}
		return row
	}
	const of = "10.0.0.1:3306"
	for name, c := range map[string]struct {
		answers map[string]any // rows or an error, by question
		want    []standing
		err     string
	}{
		"MySQL 8.4": {map[string]any{first: server("1", "8.4.3"), "SHOW REPLICA STATUS": []map[string]string{newer}},
			[]standing{{replicates: true, of: of, lag: 7}}, ""},
		"MySQL 8.0, a master": {map[string]any{first: server("0", "8.0.40"), "SHOW REPLICA STATUS": []map[string]string(nil)},
			[]standing{{writable: true}}, ""},
		"MySQL 5.7": {map[string]any{first: server("0", "5.7.44-log"), "SHOW REPLICA STATUS": unknown, "SHOW SLAVE STATUS": []map[string]string{older}},
			[]standing{{replicates: true, writable: true, of: of, lag: 7}}, ""},
		"MariaDB": {map[string]any{first: server("0", "10.11.6-MariaDB"), "SHOW ALL SLAVES STATUS": []map[string]string(nil)},
			[]standing{{writable: true}}, ""},
		"MariaDB 12": {map[string]any{first: server("NO_LOCK", "12.0.1-MariaDB"), "SHOW ALL SLAVES STATUS": []map[string]string(nil)},
			[]standing{{}}, ""},
		"MariaDB 12, a master": {map[string]any{first: server("OFF", "12.0.1-MariaDB"), "SHOW ALL SLAVES STATUS": []map[string]string(nil)},
			[]standing{{writable: true}}, ""},
		"two sources": {map[string]any{first: server("1", "10.6-MariaDB"), "SHOW ALL SLAVES STATUS": []map[string]string{
			older, with(older, "Master_Host", "::1", "Slave_IO_Running", "Connecting", "Seconds_Behind_Master", "", "Last_IO_Error", "error connecting\nto")}},
			[]standing{{replicates: true, of: of, lag: 7}, {replicates: true, of: "[::1]:3306", unknown: "it is not connected: error connecting to"}}, ""},
		"not applied": {map[string]any{first: server("1", "8.4.3"), "SHOW REPLICA STATUS": []map[string]string{with(newer, "Replica_SQL_Running", "No",
			"Seconds_Behind_Source", "", "Last_SQL_Error", "Error 'Duplicate' on query. Default database: 'x'. Query: 'secret'")}},
			[]standing{{replicates: true, of: of, stopped: "nothing is applied: Error 'Duplicate' on query. Default database: 'x'.", unknown: "it is not connected"}}, ""},
		"not received": {map[string]any{first: server("1", "8.4.3"), "SHOW REPLICA STATUS": []map[string]string{with(newer, "Replica_IO_Running", "No")}},
			[]standing{{replicates: true, of: of, stopped: "nothing is received", lag: 7}}, ""},
		"no rows":      {map[string]any{first: []map[string]string(nil)}, nil, "has 0 rows, expected one"},
		"no privilege": {map[string]any{first: server("0", "8.4.3"), "SHOW REPLICA STATUS": &mysql.MySQLError{Number: 1227, Message: "Access denied"}}, nil, "asking for the state of replication: Error 1227: Access denied"},
		"other words":  {map[string]any{first: server("0", "8.4.3"), "SHOW REPLICA STATUS": []map[string]string{{"a": "b"}}}, nil, "does not say what runs"},
		"other number": {map[string]any{first: server("0", "8.4.3"), "SHOW REPLICA STATUS": []map[string]string{with(newer, "Seconds_Behind_Source", "x\x1b")}}, nil, `has "x\x1b" for seconds`},
	} {
		got, err := mysqlStandings(func(query string) ([]map[string]string, error) {
			switch a := c.answers[query].(type) {
			case []map[string]string:
				return a, nil
			case error:
				return nil, a
			}
			return nil, errors.New("asked: " + query)
		})
		if c.err == "" && (err != nil || !slices.Equal(got, c.want)) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
		}
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %v, want %s", name, err, c.err)
		}
	}
}

// table writes the packets of an answer to a query: each column is text.
func table(names []string, rows ...[]string) string {
	var b strings.Builder
	seq := byte(0)
	add := func(payload string) {
		seq++
		b.WriteString(packet(seq, payload))
	}
	text := func(s string) string { return string([]byte{byte(len(s))}) + s }
	end := "\xfe\x00\x00\x02\x00"
	add(string([]byte{byte(len(names))}))
	for _, n := range names {
		add(text("def") + text("") + text("") + text("") + text(n) + text(n) + "\x0c\x2d\x00\xff\x00\x00\x00\xfd\x00\x00\x00\x00\x00")
	}
	add(end)
	for _, row := range rows {
		all := ""
		for _, v := range row {
			all += text(v)
		}
		add(all)
	}
	add(end)
	return b.String()
}

// plain is the greeting of a server that writes answers as in the days of old.
const plain = "\x0a5.7.44\x00" + "\x01\x00\x00\x00" + "abcdefgh\x00" +
	"\xff\xf7" + "\x2d" + "\x02\x00" + "\x08\x00" + "\x15" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + "ijklmnopqrst\x00" + "mysql_native_password\x00"

// asks is a server that lets everybody in and answers queries one by one. At the
// end of the list it keeps the connection.
func asks(t *testing.T, answers ...string) (port int, reached chan struct{}) {
	t.Helper()
	reached = make(chan struct{}, 100)
	port = serve(t, func(c net.Conn) {
		if play(c, []string{plain, okay}) != nil {
			return
		}
		for _, answer := range answers {
			if _, err := c.Read(make([]byte, 4096)); err != nil {
				return
			}
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
		reached <- struct{}{}
		_, _ = io.Copy(io.Discard, c)
	})
	return port, reached
}

func TestMySQLRoleAnswers(t *testing.T) {
	first := table([]string{"read_only", "version"}, []string{"0", "8.4.3"})
	head := table([]string{"read_only", "version"}) // ends in a packet of 9 octets
	none := table([]string{"Source_Host"})
	// What stands first in a row can be empty, and then begins as an OK does.
	source := table([]string{"Replica_IO_State", "Source_Host", "Source_Port", "Replica_IO_Running", "Replica_SQL_Running", "Seconds_Behind_Source"},
		[]string{"", "10.0.0.1", "3306", "Yes", "Yes", "5"})
	for name, c := range map[string]struct {
		answers []string
		want    string
	}{
		"good":            {[]string{first, none}, ""},
		"replica":         {[]string{first, source}, "it is a replica of 10.0.0.1:3306, expected a master"},
		"older words":     {[]string{first, packet(1, "\xff\x28\x04#42000You have an error in your SQL syntax"), none}, ""},
		"refused":         {[]string{packet(1, "\xff\x15\x04#28000hunter2\x1b is it?")}, "Error 1045 (28000): ***"},
		"an OK":           {[]string{packet(1, okay)}, foreign},
		"asks for a file": {[]string{packet(1, "\xfb/etc/passwd")}, foreign},
		"many columns":    {[]string{packet(1, "\xfe\xff\xff\xff\xff\xff\xff\xff\x7f")}, foreign},
		"short column":    {[]string{packet(1, "\x01") + packet(2, "\x03def\x00\x00\x00\x00\x00\x0c")}, "the driver stumbled"},
		"no columns":      {[]string{packet(1, "\x01") + packet(2, "\xff")}, "mysql at"},
		"short row":       {[]string{head[:len(head)-9] + packet(5, "\x010\xfc")}, "the driver stumbled"},
		"rows without end": {[]string{table([]string{"read_only", "version"}, slices.Repeat([][]string{{"0", strings.Repeat("x", 250)}}, 2000)...)},
			"the server sent more than 262144 octets"},
		"text": {[]string{"HTTP/1.1 400 Bad Request\r\n\r\n"}, foreign},
	} {
		t.Run(name, func(t *testing.T) {
			port, _ := asks(t, c.answers...)
			leavesNothing(t)
			p := compile(t, "mysql_role 'root', 'hunter2', "+itoa(port)+", '127.0.0.1', 'master'")
			if c.want == "" {
				good(t, p)
				return
			}
			bad(t, p, "mysql at 127.0.0.1:"+itoa(port)+": ", c.want)
			err := p(t.Context())
			if err == nil || strings.Contains(err.Error(), "hunter2") || len(err.Error()) > 600 || strings.ContainsAny(err.Error(), "\x1b\r\n") {
				t.Errorf("%q", err)
			}
		})
	}
}

func TestMySQLRoleHangs(t *testing.T) {
	first := table([]string{"read_only", "version"}, []string{"0", "8.4.3"})
	for name, list := range map[string][]string{
		"query": nil, "part of a packet": {first[:2]}, "columns": {first[:5]}, "rows": {first[:len(first)-9]}, "second query": {first},
	} {
		t.Run(name, func(t *testing.T) {
			port, reached := asks(t, list...)
			leavesNothing(t)
			p := compile(t, "mysql_role 'root', 'hunter2', "+itoa(port)+", '127.0.0.1', 'master'")
			cancelled(t, p, reached)
			hangs(t, p)
		})
	}
}
