package expr

import "testing"

func TestRoleAndNoArguments(t *testing.T) {
	for src, want := range map[string]string{
		"memcached_check":                                     "memcached_check",
		"memcached_check()":                                   "memcached_check",
		"memcached_check # the default\nredis_check":          "memcached_check\nredis_check",
		"memcached_check and not redis_check or tcp_check 80": "memcached_check and not redis_check or tcp_check 80",
		// Nothing can be an argument here, so that && belongs to nobody.
		"memcached_check && !redis_check || tcp_check(80)":           "(memcached_check and not redis_check) or tcp_check 80",
		"memcached_check &&\n(redis_check)":                          "memcached_check and redis_check",
		"not memcached_check":                                        "not memcached_check",
		"redis_check 6379, '127.0.0.1', nil, nil":                    "redis_check",
		"redis_check 6379, 'db', '', 'master'":                       "redis_check 6379, 'db', '', 'master'",
		"smtp_check 'localhost', 25":                                 "smtp_check 'localhost'",
		"smtp_check('mx', 587, nil, 'app', 'x')":                     "smtp_check 'mx', 587, nil, 'app', 'x'",
		"smtp_check 'mx', 25, 'me.example.com', nil":                 "smtp_check 'mx', 25, 'me.example.com'",
		"postgres_role 'u', nil, 5432, '127.0.0.1', 'replica', 0":    "postgres_role 'u', nil, 5432, '127.0.0.1', 'replica', 0",
		"postgres_role('u', 'p', '/run/postgresql', 'db', nil, nil)": "postgres_role 'u', 'p', '/run/postgresql', 'db'",
	} {
		if got := mustParse(t, src).String(); got != want {
			t.Errorf("Parse(%q) gives %q, want %q", src, got, want)
		}
	}
	refuses(t, map[string]string{
		"memcached_check 11211, 'a', 5":                "1:29 takes 0 to 2 arguments, got 3: memcached_check(port=11211, host='127.0.0.1')",
		"memcached_check nil":                          "1:17 port: expected an integer 1…65535; got nil",
		"memcached_check (80) && redis_check":          "1:22 would belong to the argument of memcached_check",
		"memcached_check && redis_check 6379":          "1:20 after `&&` a check needs parentheses",
		"redis_check\n  redis_check 1, 'h', nil, 'm'":  "2:28 role: expected 'master' or 'replica' or nil; this string is another",
		"postgres_role 'u', nil, 1, 'h', 'master', -1": "1:43 max_lag: expected an integer of seconds 0…2592000 or nil; -1 is out of range",
		"postgres_role 'u', nil, 1, 'h', nil, 2592001": "1:38 2592001 is out of range",
		"postgres_role 'u', nil, 1, 'h', nil, '5'":     "1:38 got a string",
		"postgres_role 'u', nil, 1, 'h', 'Master'":     "1:33 role: expected 'master' or 'replica' or nil",
		"postgres_check nil":                           "1:16 user: expected a string in quotes; got nil",
		"smtp_check":                                   "1:1 takes 1 to 5 arguments, got 0: smtp_check(host, port=25, helo=nil, user=nil, password=nil)",
		`smtp_check 'mx', 25, "a\r\nQUIT"`:             "1:22 helo: expected a host name or address in quotes or nil; this string is neither",
		"smtp_check 25":                                "1:12 host: expected a host name",
		"redis_check 1, 'h', nil, true":                "1:26 got true",
		"redis_check 1, 'h', 5":                        "1:21 password: expected a string in quotes or nil; got an integer",
	})
}

func TestSecrets(t *testing.T) {
	for src, want := range map[string]string{
		"redis_check 6379, 'h', 'hunter2'": "hunter2",
		"redis_check 6379, 'h', ''":        "",
		"redis_check":                      "",
		"mysql_check 'root', 'hunter2'":    "hunter2",
		"tcp_check 80":                     "",
	} {
		got := mustParse(t, src).lines[0].(Call).Secrets()
		if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || got[0] != want) {
			t.Errorf("%s: %q", src, got)
		}
	}
}
