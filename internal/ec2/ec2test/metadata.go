package ec2test

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Metadata gives the instance metadata service, version 2 only (Guide
// configuring-instance-metadata-service.html and instancedata-data-retrieval).
// who tells which instance a request comes from; "" is none of ours, and gets
// 404.
func (f *Fake) Metadata(who func(*http.Request) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o := f.options()
		id := who(r)
		w.Header().Set("Server", "EC2ws")
		w.Header().Set("Content-Type", "text/plain")
		if o.MetadataOff {
			http.Error(w, "403 - Forbidden", http.StatusForbidden)
			return
		}
		if r.URL.Path == "/latest/api/token" {
			f.token(w, r, o.HopLimit)
			return
		}
		if r.Method != http.MethodGet {
			http.Error(w, "405 - Method Not Allowed", http.StatusMethodNotAllowed)
			return
		}
		// A missing, wrong or old token: 401.
		f.mu.Lock()
		until, ok := f.tokens[r.Header.Get("X-aws-ec2-metadata-token")]
		f.mu.Unlock()
		if !ok || time.Now().After(until) {
			http.Error(w, "401 - Unauthorized", http.StatusUnauthorized)
			return
		}
		text, ok := f.fact(id, strings.TrimPrefix(r.URL.Path, "/latest/"))
		if !ok {
			http.Error(w, "404 - Not Found", http.StatusNotFound)
			return
		}
		io.WriteString(w, text)
	})
}

// token gives one: by PUT, with a lifetime of 1 to 21600 seconds, and never to a
// request that came through a proxy (X-Forwarded-For).
func (f *Fake) token(w http.ResponseWriter, r *http.Request, lose bool) {
	ttl, err := strconv.Atoi(r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds"))
	switch {
	case r.Method != http.MethodPut:
		http.Error(w, "405 - Method Not Allowed", http.StatusMethodNotAllowed)
	case r.Header.Get("X-Forwarded-For") != "":
		http.Error(w, "403 - Forbidden", http.StatusForbidden)
	case err != nil || ttl < 1 || ttl > 21600:
		http.Error(w, "400 - Bad Request", http.StatusBadRequest)
	case lose:
		<-r.Context().Done() // the answer dies on its second hop
	default:
		token := requestID()
		f.mu.Lock()
		f.tokens[token] = time.Now().Add(time.Duration(ttl) * time.Second)
		f.mu.Unlock()
		w.Header().Set("X-aws-ec2-metadata-token-ttl-seconds", strconv.Itoa(ttl))
		io.WriteString(w, token)
	}
}

// fact gives what there is at a path (Guide instancedata-data-categories.html).
func (f *Fake) fact(instance, path string) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pass()
	in := f.now.instance(instance)
	if in == nil {
		return "", false
	}
	all := f.now.attached(instance)
	if len(all) == 0 {
		return "", false
	}
	primary := all[0]
	switch path {
	case "meta-data/", "meta-data":
		return "instance-id\nlocal-hostname\nlocal-ipv4\nmac\nnetwork/\nplacement/", true
	case "meta-data/instance-id":
		return in.ID, true
	case "meta-data/local-ipv4":
		return first(primary.Addresses), true
	case "meta-data/local-hostname":
		return "ip-" + strings.ReplaceAll(first(primary.Addresses), ".", "-") + "." + f.now.Region + ".compute.internal", true
	case "meta-data/mac":
		return primary.MAC, true
	case "meta-data/placement/region":
		return f.now.Region, true
	case "meta-data/placement/availability-zone":
		return in.Zone, true
	case "meta-data/iam/security-credentials/", "meta-data/iam/security-credentials":
		return in.Role, in.Role != ""
	case "meta-data/iam/security-credentials/" + in.Role:
		if in.Role == "" {
			return "", false
		}
		return f.roleKeys(in), true
	}
	for _, n := range all {
		if rest, ok := strings.CutPrefix(path, "meta-data/network/interfaces/macs/"+n.MAC+"/"); ok && n.MAC != "" {
			switch rest {
			case "interface-id":
				return n.ID, true
			case "subnet-id":
				return n.Subnet, true
			case "local-ipv4s":
				return strings.Join(n.Addresses, "\n"), true
			}
		}
	}
	return "", false
}

// roleKeys makes the temporary credentials of an instance's role (Guide
// instance-metadata-security-credentials.html); the API wants their token. The
// caller holds the lock.
func (f *Fake) roleKeys(in *Instance) string {
	key := "ASIA" + strings.ToUpper(strings.TrimPrefix(in.ID, "i-"))
	if f.now.Keys[key] == "" {
		f.now.Keys[key], f.session[key] = requestID(), requestID()
	}
	b, _ := json.Marshal(map[string]string{
		"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": time.Now().UTC().Format(time.RFC3339),
		"AccessKeyId": key, "SecretAccessKey": f.now.Keys[key], "Token": f.session[key],
		"Expiration": time.Now().Add(6 * time.Hour).UTC().Format(time.RFC3339),
	})
	return string(b)
}
