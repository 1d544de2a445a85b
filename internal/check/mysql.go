package check

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"

	"github.com/go-sql-driver/mysql"

	"murakumo/internal/check/expr"
)

// mysqlCheck logs in and pings.
func mysqlCheck(c expr.Call) Probe {
	return mysqlTalk(c, c.Text("db"), func(ctx context.Context, conn driver.Conn, _ *packetGuard) error {
		pinger, ok := conn.(driver.Pinger)
		if !ok {
			return errors.New("the driver cannot ping")
		}
		return pinger.Ping(ctx)
	})
}

// mysqlTalk logs in to the server of a call with user, password, port_or_socket
// and host, and then talks. The connection is the driver's own, without
// database/sql above it: one probe, one connection, nothing kept.
func mysqlTalk(c expr.Call, db string, talk func(context.Context, driver.Conn, *packetGuard) error) Probe {
	network, address := "tcp", ""
	switch v := c.Value("port_or_socket").(type) {
	case int:
		address = hostPort(c.Text("host"), v)
	case string:
		network, address = "unix", v
	}
	return func(ctx context.Context) error {
		cfg := mysql.NewConfig()
		cfg.User, cfg.Passwd, cfg.DBName = c.Text("user"), c.Text("password"), db
		cfg.Net, cfg.Addr = network, address
		cfg.Logger = &mysql.NopLogger{} // it would write to standard error; what matters is in the error
		// The passwords of MariaDB and of MySQL before 8. The scrambles of
		// MySQL before 4.1, which give the password away, stay off, and so does
		// sending it in clear. There is no TLS: the usual server is this host.
		cfg.AllowNativePasswords = true
		cfg.AllowOldPasswords = false
		cfg.AllowCleartextPasswords = false
		var guard *packetGuard
		cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			guard = &packetGuard{Conn: &bounded{Conn: conn, left: maxTalk}}
			return guard, nil
		}
		err := login(ctx, cfg, func(ctx context.Context, conn driver.Conn) error { return talk(ctx, conn, guard) })
		if guard != nil {
			guard.Close() // again, if all went well
		}
		switch {
		case err == nil:
			return nil
		case guard == nil:
			return err // from dial, which names the address
		case ctx.Err() != nil:
			err = ctx.Err()
		case guard.err != nil:
			err = guard.err // the driver makes "invalid connection" of all of them
		default:
			err = errors.New(clean(err.Error()))
		}
		return fmt.Errorf("mysql at %s: %w", address, err)
	}
}

// login connects, talks and hangs up.
func login(ctx context.Context, cfg *mysql.Config, talk func(context.Context, driver.Conn) error) (err error) {
	// packetGuard keeps away what is known to make the driver panic. Should
	// there be more, it is this check that is bad and not the daemon.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the driver stumbled over an answer: %v", r)
		}
	}()
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return err
	}
	conn, err := connector.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() // says goodbye; the verdict is there already
	return talk(ctx, conn)
}
