package check

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"murakumo/internal/check/expr"
)

// postgresCheck logs in and asks the server for an answer.
func postgresCheck(c expr.Call) Probe {
	return postgresTalk(c, c.Text("db"), func(ctx context.Context, conn *pgconn.PgConn) error {
		_, err := postgresRow(ctx, conn, "SELECT 1")
		return err
	})
}

// postgresTalk logs in to the server of a call with user, password,
// port_or_socket and host, and then talks. The connection is the driver's own,
// without a pool above it: one probe, one connection, nothing kept.
func postgresTalk(c expr.Call, db string, talk func(context.Context, *pgconn.PgConn) error) Probe {
	if db == "" {
		db = "postgres" // it is everywhere, while a database of the user's name is not
	}
	return func(ctx context.Context) error {
		network, address := "tcp", ""
		switch v := c.Value("port_or_socket").(type) {
		case int:
			address = hostPort(c.Text("host"), v)
		case string:
			network, address = "unix", v
			// PostgreSQL's own programs take the folder.
			if at, err := os.Stat(v); err == nil && at.IsDir() {
				address = filepath.Join(v, ".s.PGSQL.5432")
			}
		}
		return converse(ctx, "postgres", network, address, func(raw *bounded) error {
			var conn net.Conn = raw
			here := network == "unix" || onLoopback(raw)
			if network == "tcp" {
				secure, err := postgresTLS(raw)
				if err != nil {
					return because(ctx, "asking for TLS", err)
				}
				conn = secure
			}
			err := postgresLogin(ctx, &messageGuard{Conn: conn}, c.Text("user"), c.Text("password"), db, here, talk)
			if err != nil && ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		})
	}
}

// postgresTLS asks whether the server speaks TLS, and does if so: pg_hba.conf
// can demand it. No certificate is verified, as with sslmode=prefer of
// PostgreSQL's own programs: what goes over the connection keeps the password
// secret in any case.
func postgresTLS(conn *bounded) (net.Conn, error) {
	// SSLRequest: length 8, number 80877103.
	if _, err := conn.Write([]byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}); err != nil {
		return nil, err
	}
	// One octet. More would be read as if it had come encrypted.
	answer := make([]byte, 80)
	n, err := conn.Read(answer)
	if err != nil {
		return nil, err
	}
	switch string(answer[:n]) {
	case "S":
		secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		if err := secure.Handshake(); err != nil {
			return nil, err
		}
		return secure, nil
	case "N":
		return conn, nil
	}
	return nil, fmt.Errorf("the answer is not of a PostgreSQL server: %s", excerpt(answer[:n]))
}

// postgresLogin logs in on a connection that is there, talks and hangs up. The
// caller closes conn.
func postgresLogin(ctx context.Context, conn net.Conn, user, password, db string, here bool,
	talk func(context.Context, *pgconn.PgConn) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the driver stumbled over an answer: %v", r)
		}
	}()
	// Only for what cannot be made otherwise. The driver reads the environment
	// and files of the user's; what it found is replaced by what stands here.
	cfg, err := pgconn.ParseConfig("host=/nowhere port=5432 user=nobody sslmode=disable sslcertmode=disable passfile=/dev/null " +
		"connect_timeout=0 target_session_attrs=any channel_binding=disable min_protocol_version=3.0 max_protocol_version=3.0 require_auth=''")
	if err != nil {
		return err
	}
	cfg.User, cfg.Password, cfg.Database = user, password, db
	cfg.TLSConfig, cfg.Fallbacks, cfg.ConnectTimeout = nil, nil, 0
	cfg.RuntimeParams = map[string]string{"application_name": "murakumo"}
	if !here {
		cfg.RequireAuth = "!password" // nobody gets the password itself over a network
	}
	// One connection. When something fails the driver would make another one to
	// cancel its query, in a goroutine of its own; hanging up cancels as well,
	// and without a connection that goroutine ends at once.
	used := false
	cfg.DialFunc = func(context.Context, string, string) (net.Conn, error) {
		if used {
			return nil, errors.New("one probe has one connection")
		}
		used = true
		return conn, nil
	}
	// What waits on conn returns when ctx ends; the driver need not look too.
	ctx = context.WithoutCancel(ctx)
	pg, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return postgresError(err)
	}
	defer func() {
		pg.Close(ctx) // says goodbye, unless the driver gave the connection up
		conn.Close()  // then it still tries to, in the background
		<-pg.CleanupDone()
	}()
	return postgresError(talk(ctx, pg))
}

// postgresRow asks and gives the only row of the answer, NULL as nil. It reads
// message by message, because the driver's own way to a result forgets what it
// stumbled over.
func postgresRow(ctx context.Context, conn *pgconn.PgConn, query string) ([][]byte, error) {
	conn.Frontend().SendQuery(&pgproto3.Query{String: query})
	if err := conn.Frontend().Flush(); err != nil {
		return nil, err
	}
	var rows [][][]byte
	var refused error
	for {
		msg, err := conn.ReceiveMessage(ctx)
		if err != nil {
			return nil, err
		}
		switch msg := msg.(type) {
		case *pgproto3.DataRow:
			row := make([][]byte, len(msg.Values))
			for i, v := range msg.Values {
				row[i] = bytes.Clone(v) // the driver uses the memory again
			}
			rows = append(rows, row)
		case *pgproto3.ErrorResponse:
			refused = pgconn.ErrorResponseToPgError(msg)
		case *pgproto3.ReadyForQuery:
			if refused == nil && len(rows) != 1 {
				refused = fmt.Errorf("the answer to a query has %d rows, expected one", len(rows))
			}
			if refused != nil {
				return nil, refused
			}
			return rows[0], nil
		}
	}
}

// postgresError takes the driver's words about itself off an error.
func postgresError(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[guarded](err); ok {
		return e.error // the driver puts many words around it
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return errors.New(clean(e.Error()))
	}
	if e, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		// Joined of one, because there was one try; that names the address
		// again.
		if joined, ok := e.Unwrap().(interface{ Unwrap() []error }); ok && len(joined.Unwrap()) == 1 {
			if cause := errors.Unwrap(joined.Unwrap()[0]); cause != nil {
				err = cause
			}
		}
	}
	return errors.New(clean(err.Error()))
}
