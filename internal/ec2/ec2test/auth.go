package ec2test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// verify checks the signature, version 4, in the Authorization header
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html)
// and gives the access key id of the caller. The codes are those of API
// errors-overview.html, "Common client error codes"; which one EC2 gives for
// which mistake it does not say exactly.
func (f *Fake) verify(r *http.Request, body []byte) (key string, bad *failure) {
	denied := func(code, message string) (string, *failure) {
		return key, &failure{http.StatusUnauthorized, code, message}
	}
	auth := r.Header.Get("Authorization")
	if auth == "" {
		return denied("MissingAuthenticationToken", "the request has no signature")
	}
	rest, ok := strings.CutPrefix(auth, "AWS4-HMAC-SHA256 ")
	if !ok {
		return denied("IncompleteSignature", "only signature version 4 (AWS4-HMAC-SHA256) is accepted")
	}
	part := map[string]string{}
	for p := range strings.SplitSeq(rest, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		part[k] = v
	}
	scope := strings.Split(part["Credential"], "/")
	if len(scope) != 5 || part["SignedHeaders"] == "" || part["Signature"] == "" {
		return denied("IncompleteSignature", "the Authorization header needs Credential, SignedHeaders and Signature")
	}
	key = scope[0]

	f.mu.Lock()
	secret, known := f.now.Keys[key]
	token := f.session[key]
	region, skew, off := f.now.Region, f.opts.Skew, f.opts.ClockOff
	f.mu.Unlock()
	if !known {
		return denied("AuthFailure", "AWS was not able to validate the provided access credentials")
	}
	if scope[2] != region || scope[3] != "ec2" || scope[4] != "aws4_request" {
		return denied("AuthFailure", "Credential should be scoped to a valid region and service, not "+strings.Join(scope[2:], "/"))
	}
	stamp := r.Header.Get("X-Amz-Date")
	at, err := time.Parse("20060102T150405Z", stamp)
	if err != nil || !strings.HasPrefix(stamp, scope[1]) {
		return denied("IncompleteSignature", "X-Amz-Date is missing, or of another day than the credential")
	}
	// A temporary key is worth nothing without its session token.
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("X-Amz-Security-Token")), []byte(token)) != 1 {
		return denied("AuthFailure", "the session token does not belong to the key")
	}

	signed := strings.Split(part["SignedHeaders"], ";")
	need := []string{"host", "x-amz-date"}
	if token != "" {
		need = append(need, "x-amz-security-token")
	}
	for _, h := range need {
		if !slices.Contains(signed, h) {
			return denied("SignatureDoesNotMatch", "the header "+h+" has to be signed")
		}
	}
	if !slices.IsSorted(signed) {
		return denied("SignatureDoesNotMatch", "the signed headers have to be in order")
	}
	var canonical strings.Builder
	canonical.WriteString(r.Method + "\n" + or(r.URL.EscapedPath(), "/") + "\n" + canonicalQuery(r.URL.Query()) + "\n")
	for _, h := range signed {
		v := strings.Join(r.Header.Values(h), ",")
		switch h {
		case "host":
			v = r.Host
		case "content-length":
			v = or(v, itoa(int(r.ContentLength)))
		}
		canonical.WriteString(h + ":" + strings.Join(strings.Fields(v), " ") + "\n")
	}
	canonical.WriteString("\n" + part["SignedHeaders"] + "\n" + hexHash(body))

	toSign := "AWS4-HMAC-SHA256\n" + stamp + "\n" + strings.Join(scope[1:], "/") + "\n" + hexHash([]byte(canonical.String()))
	k := []byte("AWS4" + secret)
	for _, s := range scope[1:] {
		k = mac(k, s)
	}
	if !hmac.Equal([]byte(hex.EncodeToString(mac(k, toSign))), []byte(part["Signature"])) {
		return denied("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided")
	}
	if d := time.Now().Add(off).Sub(at); d.Abs() > skew {
		return key, &failure{http.StatusBadRequest, "RequestExpired", "Request has expired"}
	}
	return key, nil
}

func canonicalQuery(q url.Values) string {
	var all []string
	for k, vs := range q {
		for _, v := range vs {
			all = append(all, escape(k)+"="+escape(v))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "&")
}

// escape is the URI encoding of the signature: everything but unreserved
// characters, and a blank is %20.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

func hexHash(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
