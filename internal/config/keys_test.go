package config

import (
	"fmt"
	"strings"
	"testing"
)

// keyCases has for every key that the loader knows a good value with what the
// dump then says, one out of range, and one of a wrong type. The key is put
// into the file at %s.
var keyCases = map[string]struct {
	good, want         string
	outOfRange, reason string // "" where every value of the type is in range
	wrongType          string
}{
	"auth-key":               {"/etc/murakumo.key", `AuthKeys[0] = "a secret in a file, long enough"`, `""`, "expected a text", "{a: b}"},
	"address":                {"'10.0.0.1, ::'", "Bind[1] = ::", "10.0.0.256", "expected an IP address", "{a: b}"},
	"port":                   {"5353", "Port = 5353", "65536", "1…65535", "dns"},
	"initial-nodes":          {"10.0.0.2, db:10871", `InitialNodes[1] = "db:10871"`, "10.0.0.2:65536", "1…65535", "{a: b}"},
	"host":                   {"10.0.0.2, web-02, 5", `Host.TTL = 5`, "10.0.0.2, web, 2147483648", "0…2147483647", "{a: b}"},
	"alias":                  {"db,0,backup,65535", "Aliases[0].Weight = 65535", "db,60,master,65536", "1…65535", "[[db]]"},
	"aliases":                {"[db]", `Aliases[0].Name = "db"`, "[-db]", "hyphen", "[[db]]"},
	"static":                 {"['10.0.9.9 RDS rds-reader', /etc/murakumo.hosts]", "Static.Hosts[0].Names[1] = \"rds-reader\"\nStatic.Files[0] = \"/etc/murakumo.hosts\"", "0.0.0.0 rds", "which is no address of a host", "{a: b}"},
	"static-ttl":             {"0", "Static.TTL = 0", "2147483648", "0 or more", "1h"},
	"max-records":            {"5", "MaxRecords = 5", "0", "1…1000000", "many"},
	"resolver":               {"10.0.0.2, [2001:db8::1]:5353", "Resolvers[1] = [2001:db8::1]:5353", "10.0.0.2:0", "expected an IP address", "dns.example"},
	"socket":                 {"/tmp/m.sock", `Socket = "/tmp/m.sock"`, "/" + strings.Repeat("x", 107), "at most 107 octets", "murakumo.sock"},
	"max-ip-num":             {"1", "MaxIPNum = 1", "0", "1 or more", "1.5"},
	"domain":                 {".Example.COM.", `Domain = "example.com"`, "a..b", "expected a domain", "[a]"},
	"domain-owned":           {"true", "DomainOwned = true", "", "", "maybe"},
	"negative-ttl":           {"0", "NegativeTTL = 0s", "86401", "0…86400", "soon"},
	"enable-cache":           {"on", "Cache = true", "", "", "sometimes"},
	"allow-query":            {"10.0.0.0/8, 192.0.2.1", "AllowQuery[1] = 192.0.2.1/32", "10.0.0.0/33", "a prefix", "{a: b}"},
	"allow-recursion":        {"10.0.0.0/8, 192.0.2.1", "AllowRecursion[1] = 192.0.2.1/32", "10.0.0.0/33", "a prefix", "{a: b}"},
	"allow-transfer":         {"10.0.0.7, fd00::/64", "AllowTransfer[0] = 10.0.0.7/32", "10.0.0.0/33", "a prefix", "{a: b}"},
	"notify":                 {"10.0.0.7, [fd00::7]:5353", "Notify[0] = 10.0.0.7:53", "10.0.0.7:0", "an IP address", "{a: b}"},
	"rate-limit":             {"500", "RateLimit = 500", "-1", "0…1000000", "often"},
	"rate-limit-slip":        {"1", "RateSlip = 1", "101", "0…100", "yes"},
	"tls-port":               {"8853", "TLS.Port = 8853", "65536", "1…65535", "dot"},
	"tls-cert":               {"/etc/tls.crt", `TLS.Cert = "/etc/tls.crt"`, "/etc/tls.key", "has no certificate", "tls.crt"},
	"tls-key":                {"/etc/tls.key", `TLS.Key = "/etc/tls.key"`, "/etc/murakumo.key", "failed to find any PEM data in key input", "tls.key"},
	"daemon":                 {"Restart", `Daemon = "restart"`, "", "", "run"},
	"working-dir":            {"/srv/m", `WorkingDir = "/srv/m"`, "", "", "var"},
	"on-stop":                {"keep", `OnStop = keep`, "", "", "stay"},
	"log-path":               {"/var/log/m.json", "Log.JSON = true", "", "", "[a]"},
	"log-level":              {"FATAL", "Log.Level = ERROR+4", "", "", "loud"},
	"log-format":             {"json", "Log.JSON = true", "", "", "xml"},
	"gossip-port":            {"10871", "Gossip.Port = 10871", "0", "1…65535", "gossip"},
	"gossip-node-lifetime":   {"0.5", "Gossip.NodeLifetime = 500ms", "300.1", "0.5…300", "long"},
	"gossip-send-interval":   {"20ms", "Gossip.SendInterval = 20ms", "0.009", "0.01…30", "often"},
	"gossip-receive-timeout": {"0.1", "Gossip.ReceiveTimeout = 100ms", "301", "0.1…300", "[3]"},
	"ping-init-nodes":        {"Yes", "Gossip.PingInitNodes = true", "", "", "2"},
	"gossip-start-delay":     {"1h", "Gossip.StartDelay = 1h0m0s", "-1", "0…3600", "later"},
	"init-script":            {"murakumo-ec2 init", "", "no-such-program", "no such program", "{a: b}"},
	"name-includes":          {"^App-[a,b]{1,2}$, db", "Names.Includes[1] = (?i)db", "a{1,9999}", "invalid repeat count", "{a: b}"},
	"name-excludes":          {`['a, b']`, "Names.Excludes[0] = (?i)a, b", "(?<!a)b", "neither ahead nor behind", "{a: b}"},
	"addr-includes":          {`^10\.`, `Addrs.Includes[0] = (?i)^10\.`, `a\Z`, `write \z`, "{a: b}"},
	"addr-excludes":          {`^10\.`, `Addrs.Excludes[0] = (?i)^10\.`, "'*'", ".*", "{a: b}"},
	"balancing":              {`{'^db-\d+$': {algorithm: fix_by_src2, max-ip-num: 3, sources: [App, web]}}`, `Balancing[0].Destination = (?i)^db-\d+$`, "{'db-(': {algorithm: random}}", "missing closing )", "[db]"},
	"when-empty":             {`{'^db-\d+$': Last-Good, web: all}`, "WhenEmpty[0].Destination = (?i)^db-\\d+$\nWhenEmpty[0].Answer = last-good", "{db: most}", "nodata, last-good or all", "db"},
	"health-check":           {"{db: {script: tcp_check 80}}", "HealthChecks[0].Rule.Interval = 5s", "{dbb: {script: tcp_check 80}}", `did you mean "db"`, "[db]"},
	"activity-check":         {"{db: {on-inactivate: detach_if}}", "ActivityChecks[0].Rule.StartDelay = 1m0s", "{other: {on-activate: attach_if}}", "no alias of this node", "db"},
	"notification":           {"{host: '::1', recipients: a@b}", `Notification.Sender = "murakumo@localhost.localdomain"`, "{host: mail, recipients: ''}", "expected a mail address", "mail"},
	"on-start":               {"notify 'a b'", `OnStart = ["/usr/local/sbin/notify" "a b"]`, "/srv/plain", "not executable", "{a: b}"},
	"hook-timeout":           {"0.1", "HookTimeout = 100ms", "3601", "0.1…3600", "never"},

	"health-check.interval":      {"0.05", "HealthChecks[0].Rule.Interval = 50ms", "0.049", "0.05…300", "often"},
	"health-check.timeout":       {"300", "HealthChecks[0].Rule.Timeout = 5m0s", "5m1ms", "0.05…300", "{a: b}"},
	"health-check.healthy":       {"60", "HealthChecks[0].Rule.Rise = 60", "61", "1…60", "2.5"},
	"health-check.unhealthy":     {"1", "HealthChecks[0].Rule.Fall = 1", "0", "1…60", "0x2"},
	"health-check.init-status":   {"inactive", "HealthChecks[0].Rule.Init = unhealthy", "", "", "undefined"},
	"health-check.on-activate":   {"notify", `HealthChecks[0].OnActivate = ["/usr/local/sbin/notify"]`, "/srv/folder", "is a directory", "{a: b}"},
	"health-check.on-inactivate": {"[notify, a b]", `HealthChecks[0].OnInactivate = ["/usr/local/sbin/notify" "a b"]`, "/srv/group", "writable by its group", "[[a]]"},
	"health-check.script":        {"tcp_check 80 and http_get '/'", "HealthChecks[0].Script = tcp_check 80 and http_get '/'", "tcp_check 65536", "65535", "/etc/check.rb"},
	"health-check.command":       {"check_tcp -p 80", `HealthChecks[0].Command = ["/usr/bin/check_tcp" "-p" "80"]`, "loose", "writable by others", "{a: b}"},

	"health-check.ttl": {"30", "HealthChecks[0].TTL = 30s", "86401", "0.1…86400", "often"},

	"activity-check.start-delay":   {"0.5", "ActivityChecks[0].Rule.StartDelay = 500ms", "301", "0…300", "now"},
	"activity-check.interval":      {"0.05", "ActivityChecks[0].Rule.Interval = 50ms", "0", "0.05…300", "often"},
	"activity-check.active":        {"1", "ActivityChecks[0].Rule.Active = 1", "61", "1…60", "two"},
	"activity-check.inactive":      {"60", "ActivityChecks[0].Rule.Inactive = 60", "0", "1…60", "010"},
	"activity-check.init-status":   {"active", "ActivityChecks[0].Rule.Init = active", "", "", "on"},
	"activity-check.on-activate":   {"/usr/local/sbin/attach_if eni-1", `ActivityChecks[0].OnActivate = ["/usr/local/sbin/attach_if" "eni-1"]`, "./attach_if", "write all of it", "{a: b}"},
	"activity-check.on-inactivate": {"detach_if", `ActivityChecks[0].OnInactivate = ["/usr/local/sbin/detach_if"]`, "/srv/socket", "no regular file", "{a: b}"},

	"notification.host":    {"mail.example", `Notification.Host = "mail.example"`, "mail:25", "a key of its own", "[a]"},
	"notification.port":    {"587", "Notification.Port = 587", "0", "1…65535", "smtp"},
	"notification.tls":     {"Implicit", "Notification.Port = 465", "", "", "ssl"},
	"notification.ca-file": {"/etc/murakumo-ca.pem", `Notification.CAFile = "/etc/murakumo-ca.pem"`, "/etc/murakumo.key", "expected PEM", "ca.pem"},
	"notification.webhook": {"'https://a.example/x,y , http://127.0.0.1:9093/'", `Notification.Webhooks[0].URL = "https://a.example/x,y"`,
		"https://a.example:65536/", "1…65535", "[[a]]"},
	"notification.helo":         {"me.example", `Notification.Helo = "me.example"`, "", "", "me you"},
	"notification.account":      {"me", `Notification.Account = "me"`, "", "", "[me]"},
	"notification.password":     {"' x'", `Notification.Password = " x"`, "", "", "[x]"},
	"notification.sender":       {"a@b", `Notification.Sender = "a@b"`, "", "", "nobody"},
	"notification.recipients":   {"[a@b, c@d]", `Notification.Recipients[1] = "c@d"`, "", "", "a@b, nobody"},
	"notification.open_timeout": {"0.1", "Notification.OpenTimeout = 100ms", "3601", "0.1…3600", "long"},
	"notification.read_timeout": {"90s", "Notification.ReadTimeout = 1m30s", "0", "0.1…3600", "long"},

	"proxy":                        {"{web: {listen: '0.0.0.0:80', backends: '10.0.0.2:80, web-03:81'}}", `Proxies[0].Backends[1].Host = "web-03"`, "{web: {listen: '0.0.0.0:80'}}", "to or backends is missing", "web"},
	"proxy.network":                {"udp", `Proxies[0].Network = "udp"`, "", "", "sctp"},
	"proxy.listen":                 {"'[::1]:53'", "Proxies[0].Listen = [::1]:53", "127.0.0.1:0", "an address and a port", "80"},
	"proxy.to":                     {"db:3306", `Proxies[0].To.Name = "db"`, "db:65536", "an alias and a port", "db"},
	"proxy.backends":               {"[{address: '10.0.0.2:80', weight: 3}, db:80]", "Proxies[0].Backends[0].Weight = 3", "10.0.0.2", "has no port", "{a: b}"},
	"proxy.algorithm":              {"least_conn", `Proxies[0].Algorithm = "least_conn"`, "", "", "best"},
	"proxy.on-inactive":            {"cut", `Proxies[0].OnInactive = "cut"`, "", "", "drop"},
	"proxy.connect-timeout":        {"0.5", "Proxies[0].ConnectTimeout = 500ms", "0", "0.01…300", "soon"},
	"proxy.idle-timeout":           {"1h", "Proxies[0].IdleTimeout = 1h0m0s", "-1", "0…604800", "never"},
	"proxy.drain-timeout":          {"60", "Proxies[0].DrainTimeout = 1m0s", "3601", "0…3600", "long"},
	"proxy.max-conns":              {"5", "Proxies[0].MaxConns = 5", "0", "1…1000000", "many"},
	"proxy.send-proxy":             {"v2", `Proxies[0].SendProxy = "v2"`, "", "", "v3"},
	"proxy.accept-proxy-from":      {"10.0.0.0/8", "Proxies[0].AcceptProxyFrom[0] = 10.0.0.0/8", "10.0.0.0/33", "a prefix", "{a: b}"},
	"proxy.check":                  {"tcp_check 80", "Proxies[0].Check = tcp_check 80", "tcp_check 65536", "65535", "/etc/check.rb"},
	"proxy.check-interval":         {"0.05", "Proxies[0].CheckInterval = 50ms", "301", "0.05…300", "often"},
	"proxy.check-timeout":          {"300", "Proxies[0].CheckTimeout = 5m0s", "0", "0.05…300", "[3]"},
	"proxy.backends.address":       {"'[2001:db8::1]:80'", `Proxies[0].Backends[0].Host = "2001:db8::1"`, "0.0.0.0:80", "no address of a server", "[a]"},
	"proxy.backends.weight":        {"65535", "Proxies[0].Backends[0].Weight = 65535", "0", "1…65535", "heavy"},
	"notification.webhook.url":     {"https://a.example", `Notification.Webhooks[0].URL = "https://a.example"`, "http:///x", "expected a URL of http or https", "[a]"},
	"notification.webhook.secret":  {"/etc/murakumo.key", `Notification.Webhooks[0].Secret = "a secret in a file, long enough"`, "whsec_a", "expected base64", "[a]"},
	"notification.webhook.headers": {"{x-team: a b, Authorization: Bearer x}", `Notification.Webhooks[0].Headers[1].Name = "X-Team"`, "", "", "a"},
	"notification.webhook.ca-file": {"/etc/murakumo-ca.pem", `Notification.Webhooks[0].CAFile = "/etc/murakumo-ca.pem"`, "/etc/none.pem", "does not exist", "[a]"},
	"notification.webhook.timeout": {"0.1", "Notification.Webhooks[0].Timeout = 100ms", "301", "0.1…300", "long"},

	"balancing.algorithm":  {"Random", "Balancing[0].Destination = (?i)db\n", "", "", "round_robin"},
	"balancing.max-ip-num": {"1", "Balancing[0].MaxIPNum = 1", "0", "1 or more", "few"},
	"balancing.sources":    {"App, web", `Balancing[0].Sources[1] = "web"`, "-a", "hyphen", "{a: b}"},

	"alias.name":     {"Web", `Aliases[0].Name = "web"`, "a..b", "empty label", "[web]"},
	"alias.ttl":      {"2147483647", "Aliases[0].TTL = 2147483647", "2147483648", "0 or more", "1h"},
	"alias.priority": {"Secondary", "Aliases[0].Priority = Secondary", "", "", "origin"},
	"alias.port":     {"8080", "Aliases[0].Port = 8080", "65536", "1…65535", "http"},
	"alias.txt":      {"['path=/, x', \"\"]", `Aliases[0].Text = "\tpath=/, x\x00"`, strings.Repeat("x", 256), "256 octets", "{a: b}"},
	"alias.cname":    {"WWW.example.org", `Aliases[0].Target = "www.example.org."`, "a..b", "empty label", "[a]"},
	"alias.weight":   {"1", "Aliases[0].Weight = 1", "0", "1…65535", "heavy"},
}

// fileWith gives a file that is right but for the value of one key.
func fileWith(key, value string) string {
	sets := map[string]string{"auth-key": "0123456789abcdef", "host": "10.0.0.1, web-01"}
	block, inner, nested := strings.Cut(key, ".")
	switch {
	case !nested:
		if strings.HasPrefix(key, "tls-") {
			sets["tls-cert"], sets["tls-key"] = "/etc/tls.crt", "/etc/tls.key"
		}
		sets[key] = value
		if key == "health-check" || key == "activity-check" {
			sets["alias"] = "db"
		}
	case block == "alias":
		entry := "{name: db"
		if inner == "name" {
			entry = "{ttl: 60"
		}
		sets["alias"] = fmt.Sprintf("[%s, %s: %s}]", entry, inner, value)
	case block == "balancing":
		entry := map[string]string{"algorithm": "fix_by_src", "sources": "app"}
		if inner == "algorithm" {
			entry = map[string]string{}
		}
		entry[inner] = value
		sets[block] = "\n  db:\n" + lines("    ", entry)
	case strings.HasPrefix(key, "proxy.backends."):
		entry := "{weight: 2"
		if _, inner, _ = strings.Cut(inner, "."); inner != "address" {
			entry = "{address: 'db:80'"
		}
		sets[block] = fmt.Sprintf("{web: {listen: '127.0.0.1:80', backends: [%s, %s: %s}]}}", entry, inner, value)
	case block == "proxy":
		entry := map[string]string{"listen": "127.0.0.1:80", "backends": "db:80"}
		if inner == "to" {
			delete(entry, "backends")
		}
		entry[inner] = value
		sets[block] = "\n  web:\n" + lines("    ", entry)
	case strings.HasPrefix(key, "notification.webhook."):
		entry := map[string]string{"url": "https://hooks.example"}
		entry[strings.TrimPrefix(inner, "webhook.")] = value
		sets[block] = "\n  webhook:\n   -\n" + lines("     ", entry)
	case block == "notification":
		entry := map[string]string{"host": "mail", "recipients": "a@b", "account": "me", "password": "secret"}
		entry[inner] = value
		sets[block] = "\n" + lines("  ", entry)
	default:
		entry := map[string]string{"script": "tcp_check 80"}
		if block == "activity-check" {
			entry = map[string]string{"on-activate": "attach_if"}
		}
		if inner == "command" || inner == "ttl" {
			delete(entry, "script")
		}
		entry[inner] = value
		sets["alias"] = "db"
		sets[block] = "\n  db:\n" + lines("    ", entry)
	}
	return lines("", sets)
}

func lines(indent string, sets map[string]string) string {
	var w strings.Builder
	for k, v := range sets {
		fmt.Fprintf(&w, "%s%s: %s\n", indent, k, v)
	}
	return w.String()
}

// knownKeys are all keys that the loader reads, those of mappings with the key
// of the mapping before them.
func knownKeys() []string {
	list := names(topKeys)
	nested := func(under string, keys []string) {
		for _, k := range keys {
			list = append(list, under+"."+k)
		}
	}
	nested("alias", names(aliasKeys))
	nested("balancing", names(balancingKeys))
	nested("health-check", names(healthKeys))
	nested("activity-check", names(activityKeys))
	nested("notification", names(notificationKeys))
	nested("proxy", names(proxyKeys))
	nested("proxy.backends", names(proxyBackendKeys))
	nested("notification.webhook", names(webhookKeys))
	return list
}

func TestEveryKey(t *testing.T) {
	known := map[string]bool{}
	for _, key := range knownKeys() {
		known[key] = true
		if _, ok := keyCases[key]; !ok {
			t.Errorf("no case for %s", key)
		}
	}
	for key, c := range keyCases {
		t.Run(key, func(t *testing.T) {
			if !known[key] {
				t.Fatal("the loader does not know this key")
			}
			good := fileWith(key, c.good)
			if got := outcome(Parse("f", []byte(good), testOptions())); !strings.Contains(got, c.want) || strings.HasPrefix(got, "f:") {
				t.Errorf("good value:\n%s\ngot:\n%s\nwant: %s", good, got, c.want)
			}
			if c.outOfRange != "" {
				wantProblem(t, "out of range", key, fileWith(key, c.outOfRange), c.reason)
			}
			wantProblem(t, "wrong type", key, fileWith(key, c.wrongType), "expected")
			// A key with nothing behind it is as good as none.
			if none := outcome(Parse("f", []byte(fileWith(key, "")), testOptions())); strings.Contains(none, "expected") &&
				!strings.Contains(none, "missing") {
				t.Errorf("null: got:\n%s", none)
			}
		})
	}
}

// wantProblem asks for one mistake, at the line and under the name of the key,
// which says what was expected.
func wantProblem(t *testing.T, what, key, file, reason string) {
	t.Helper()
	_, err := Parse("f", []byte(file), testOptions())
	list, ok := err.(Errors)
	if !ok || len(list) != 1 {
		t.Errorf("%s:\n%s\ngot %v, want one mistake", what, file, err)
		return
	}
	p := list[0]
	block, inner, nested := strings.Cut(key, ".")
	if !strings.HasPrefix(p.Key, block) || nested && block != "alias" && !strings.HasSuffix(p.Key, "."+inner) {
		t.Errorf("%s: the mistake is under %q: %s", what, p.Key, p)
	}
	if !strings.Contains(p.Message, reason) {
		t.Errorf("%s:\n%s\ngot %q, want it to say %q", what, file, p.Message, reason)
	}
	last := key[strings.LastIndexByte(key, '.')+1:]
	if line := strings.Split(file, "\n")[p.Line-1]; !strings.Contains(line, last+":") && !strings.Contains(line, "db:") {
		t.Errorf("%s: line %d is %q, the key is elsewhere:\n%s", what, p.Line, line, file)
	}
}

func TestDefaults(t *testing.T) {
	c, err := Parse("f", []byte(minimal), testOptions())
	if err != nil {
		t.Fatal(err)
	}
	want := `AuthKeys[0] = "0123456789abcdef"
Host.Addrs[0] = 10.0.0.1
Host.Name = "web-01"
Host.TTL = 60
`
	if got := dump(c); got != want {
		t.Errorf("got what differs from the defaults:\n%s\nwant:\n%s", got, want)
	}
	// The defaults themselves, as the product has them.
	got := fmt.Sprint(c.Bind, c.Port, c.MaxRecords, c.MaxIPNum, c.Domain == "", c.DomainOwned, c.NegativeTTL,
		c.AllowQuery == nil, c.AllowRecursion == nil, c.WorkingDir+" ", c.Log, c.Gossip, c.HookTimeout, c.Notification == nil, c.Socket == DefaultSocket())
	wantAll := "[0.0.0.0] 53 10000 8 true false 5s true true/var { INFO false} {10870 10s 300ms 3s false 0s} 1m0s true true"
	if got != wantAll {
		t.Errorf("got  %s\nwant %s", got, wantAll)
	}
}

func TestDefaultPlaces(t *testing.T) {
	for _, c := range []struct {
		uid              int
		service, runtime string
		socket, folder   string
	}{
		{0, "", "/run/user/0", "/run/murakumo/murakumo.sock", "/var"},
		{0, "/run/m", "", "/run/murakumo/murakumo.sock", "/var"},
		{7, "", "/run/user/7", "/run/user/7/murakumo/murakumo.sock", "/var"},
		{7, "/run/m", "/run/user/7", "/run/m/murakumo.sock", "/run/m"},
		{7, "/run/m:/run/n", "", "/tmp/murakumo-7/murakumo.sock", "/var"},
		{7, "", "", "/tmp/murakumo-7/murakumo.sock", "/var"},
		{7, "", "relative", "/tmp/murakumo-7/murakumo.sock", "/var"},
	} {
		if got := defaultSocket(c.uid, c.service, c.runtime, "/tmp"); got != c.socket {
			t.Errorf("%+v: got the socket %s", c, got)
		}
		if got := defaultWorkingDir(c.uid, c.service); got != c.folder {
			t.Errorf("%+v: got the folder %s", c, got)
		}
	}
}
