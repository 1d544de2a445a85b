package check

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"

	"murakumo/internal/check/expr"
)

// mysqlRole asks a server for its part in replication.
func mysqlRole(c expr.Call) Probe {
	return mysqlTalk(c, "", func(ctx context.Context, conn driver.Conn, guard *packetGuard) error {
		guard.querying = true
		ask := func(query string) ([]map[string]string, error) { return mysqlRows(ctx, conn, query) }
		all, err := mysqlStandings(ask)
		if err != nil {
			return err
		}
		for _, s := range all {
			if err := s.fits(c.Text("role"), c.Value("max_lag")); err != nil {
				return err
			}
		}
		return nil
	})
}

// mysqlStandings asks what it has to know. A server can replicate from several
// others: there is one standing for each of them, or a single one. The questions
// need one privilege: REPLICA MONITOR in MariaDB since 10.5, REPLICATION CLIENT
// elsewhere.
func mysqlStandings(ask func(string) ([]map[string]string, error)) ([]standing, error) {
	rows, err := ask("SELECT @@GLOBAL.read_only AS read_only, @@version AS version")
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 {
		return nil, fmt.Errorf("the answer to a query has %d rows, expected one", len(rows))
	}
	// A number until MariaDB 11, a word since. In MySQL super_read_only sets
	// this one, too.
	readOnly := rows[0]["read_only"]
	writable := readOnly == "0" || readOnly == "OFF"

	var sources []map[string]string
	if strings.Contains(rows[0]["version"], "MariaDB") {
		// The others show the source without a name only.
		sources, err = ask("SHOW ALL SLAVES STATUS")
	} else {
		sources, err = ask("SHOW REPLICA STATUS")
		if e, ok := errors.AsType[*mysql.MySQLError](err); ok && e.Number == 1064 { // a word it does not know
			sources, err = ask("SHOW SLAVE STATUS") // MySQL before 8.0.22
		}
	}
	if err != nil {
		return nil, fmt.Errorf("asking for the state of replication: %w", err)
	}
	var all []standing
	for _, row := range sources {
		s, err := mysqlSource(row)
		if err != nil {
			return nil, err
		}
		s.writable = writable
		all = append(all, s)
	}
	if all == nil {
		all = []standing{{writable: writable}}
	}
	return all, nil
}

// mysqlSource reads one line of the state of replication.
func mysqlSource(row map[string]string) (standing, error) {
	// MySQL's newer words, then the older ones.
	get := func(newer, older string) string {
		if v, ok := row[newer]; ok {
			return v
		}
		return row[older]
	}
	// A statement that failed is told with its data, which is nobody's business
	// here.
	reason := func(column string) string {
		text, _, _ := strings.Cut(row[column], " Query: ")
		if text == "" {
			return ""
		}
		return ": " + clean(text)
	}
	receives, applies := get("Replica_IO_Running", "Slave_IO_Running"), get("Replica_SQL_Running", "Slave_SQL_Running")
	s := standing{replicates: true, of: hostPortText(get("Source_Host", "Master_Host"), get("Source_Port", "Master_Port"))}
	switch {
	case receives == "" || applies == "":
		return standing{}, errors.New("the state of replication does not say what runs")
	case applies != "Yes":
		s.stopped = "nothing is applied" + reason("Last_SQL_Error")
	case receives == "No": // else Yes, or Connecting and the like
		s.stopped = "nothing is received" + reason("Last_IO_Error")
	}
	// NULL while it is not connected.
	behind := get("Seconds_Behind_Source", "Seconds_Behind_Master")
	if behind == "" {
		s.unknown = "it is not connected" + reason("Last_IO_Error")
		return s, nil
	}
	lag, err := strconv.ParseFloat(behind, 64)
	if err != nil {
		return standing{}, fmt.Errorf("the state of replication has %s for seconds", excerpt([]byte(behind)))
	}
	s.lag = lag
	return s, nil
}

// mysqlRows asks and gives the rows of the answer by the names of the columns,
// NULL as "".
func mysqlRows(ctx context.Context, conn driver.Conn, query string) ([]map[string]string, error) {
	q, ok := conn.(driver.QueryerContext)
	if !ok {
		return nil, errors.New("the driver cannot ask")
	}
	rows, err := q.QueryContext(ctx, query, nil)
	if err != nil {
		return nil, err
	}
	// The rows are closed only when all is read: Close would read the rest of
	// them first, also of what the driver just stumbled over. Without it the
	// connection goes with what there is.
	names := rows.Columns()
	values := make([]driver.Value, len(names))
	var all []map[string]string
	for {
		switch err := rows.Next(values); {
		case err == io.EOF:
			return all, rows.Close()
		case err != nil:
			return nil, err
		}
		row := make(map[string]string, len(names))
		for i, v := range values {
			switch v := v.(type) {
			case nil:
				row[names[i]] = ""
			case []byte:
				row[names[i]] = string(v) // the driver uses the memory again
			default:
				row[names[i]] = fmt.Sprint(v)
			}
		}
		all = append(all, row)
	}
}
