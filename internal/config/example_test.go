package config_test

import (
	"errors"
	"fmt"

	"murakumo/internal/config"
)

func ExampleParse() {
	file := `auth-key: a secret of the whole cluster
host: 10.0.0.133, server-01
alias: [mysql-server, "www,30,backup"]
health-check:
  mysql-sever:
    intervall: 5
    timeout: 1h
    script: tcp_check 3306
`
	_, err := config.Parse("murakumo.yml", []byte(file), config.Options{})
	mistakes, _ := errors.AsType[config.Errors](err)
	for _, m := range mistakes {
		fmt.Println(m)
	}
	// Output:
	// murakumo.yml:5:3: health-check.mysql-sever: no alias of this node has this name, did you mean "mysql-server"?
	// murakumo.yml:6:5: health-check.mysql-sever.intervall: unknown key, did you mean "interval"?
	// murakumo.yml:7:14: health-check.mysql-sever.timeout: expected seconds or a duration such as 250ms, 0.05…300, found "1h"
}

func ExampleParseAlias() {
	a, err := config.ParseAlias("WWW,30,backup")
	fmt.Println(a.Name, a.TTL, a.Priority, a.Weight, err)
	// Output: www 30 Backup 100 <nil>
}
