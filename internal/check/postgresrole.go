package check

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"murakumo/internal/check/expr"
)

// postgresRole asks a server for its part in replication.
func postgresRole(c expr.Call) Probe {
	return postgresTalk(c, "", func(ctx context.Context, conn *pgconn.PgConn) error {
		row, err := postgresRow(ctx, conn, postgresRoleQuery)
		if err != nil {
			return err
		}
		s, err := postgresStanding(row)
		if err != nil {
			return err
		}
		return s.fits(c.Text("role"), c.Value("max_lag"))
	})
}

// postgresRoleQuery works for every user and since PostgreSQL 10. In the order
// of its columns:
//
//   - Is it a standby?
//   - Does it take writes? One that is no standby can be told not to.
//   - Was its replay paused by hand?
//   - Has it replayed all it got, and is it connected to get more? That a
//     process for it is there everybody may see; the rest of that view only
//     some.
//   - How many seconds ago was the last transaction, that it replayed, made?
//     NULL if there was none since it started. Two hosts' clocks are compared,
//     so that it can be a little too small.
const postgresRoleQuery = `SELECT pg_is_in_recovery(),
 current_setting('transaction_read_only') = 'off',
 CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END,
 CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn(), false) ELSE false END
  AND EXISTS (SELECT FROM pg_stat_wal_receiver WHERE pid IS NOT NULL),
 greatest(0, extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()))`

// postgresStanding reads the answer to postgresRoleQuery.
func postgresStanding(row [][]byte) (standing, error) {
	if len(row) != 5 {
		return standing{}, fmt.Errorf("the answer to a query has %d columns, expected 5", len(row))
	}
	yes := func(i int) bool { return string(row[i]) == "t" }
	if !yes(0) {
		return standing{writable: yes(1)}, nil
	}
	s := standing{replicates: true}
	if yes(2) {
		s.stopped = "replay was paused"
	}
	switch {
	case yes(3):
		// All there: its data is as new as the master's, however long ago the
		// last transaction was.
	case row[4] == nil:
		s.unknown = "it has replayed no transaction since it started"
	default:
		lag, err := strconv.ParseFloat(string(row[4]), 64)
		if err != nil {
			return standing{}, fmt.Errorf("the answer to a query has %s for seconds", excerpt(row[4]))
		}
		s.lag = lag
	}
	return s, nil
}
