package nameserver

import (
	"strings"

	"github.com/miekg/dns"
)

// differences are what we do otherwise than NSD, each with its reason. excuse makes
// the replies equal in this one thing and says whether it had to.
var differences = []struct {
	why    string
	excuse func(q *asked, ours, theirs *replied) bool
}{
	{"RFC 4035 §3.2.2: we are a resolver for others, too, and copy CD into every reply; NSD clears it",
		func(_ *asked, ours, theirs *replied) bool {
			if !strings.Contains(ours.flags, "cd ") || strings.Contains(theirs.flags, "cd ") {
				return false
			}
			ours.flags = strings.Replace(ours.flags, "cd ", "", 1)
			return true
		}},
	{"RFC 3225 §3: DO is copied into every reply, also of a version that is not known; NSD clears it there",
		func(_ *asked, ours, theirs *replied) bool {
			if ours.rcode != dns.RcodeBadVers || theirs.rcode != dns.RcodeBadVers || !strings.Contains(ours.opt, "do true") {
				return false
			}
			theirs.opt = strings.Replace(theirs.opt, "do false", "do true", 1)
			return true
		}},
	{"RFC 1034 §3.6.2: CNAMEs that have no end are an error; NSD answers the ring",
		func(q *asked, ours, theirs *replied) bool {
			if q.kind != "endless cname" || ours.rcode != dns.RcodeServerFailure || theirs.rcode != dns.RcodeSuccess {
				return false
			}
			*theirs = *ours
			return true
		}},
	{"product §5: a name without an Active record exists; the zone has no records that could tell NSD so",
		func(q *asked, ours, theirs *replied) bool {
			if !q.empty || ours.rcode != dns.RcodeSuccess || theirs.rcode != dns.RcodeNameError {
				return false
			}
			theirs.rcode = ours.rcode
			return true
		}},
	{"RFC 8482 §4.2: to ANY we say no more than that there is something",
		func(q *asked, ours, theirs *replied) bool {
			if q.qtype != dns.TypeANY || !strings.HasSuffix(ours.answer, `5 in hinfo "rfc8482" ""`) || theirs.answer == "" {
				return false
			}
			theirs.answer, theirs.additional = ours.answer, ours.additional
			return true
		}},
	{"RFC 6895 §3.1: no record can be of a type of 128 to 254; NSD looks for one",
		func(q *asked, ours, theirs *replied) bool {
			if !isMeta(q.qtype) || q.qtype == dns.TypeAXFR || ours.rcode != dns.RcodeRefused || theirs.rcode != dns.RcodeSuccess && theirs.rcode != dns.RcodeNameError {
				return false
			}
			*theirs = *ours
			return true
		}},
	{"RFC 5936 §2.2.1, §4.2: of a transfer that is none we say why; NSD does not implement it over UDP, and refuses it",
		func(q *asked, ours, theirs *replied) bool {
			if q.qtype != dns.TypeAXFR || ours.rcode == theirs.rcode || theirs.rcode != dns.RcodeNotImplemented && theirs.rcode != dns.RcodeRefused {
				return false
			}
			theirs.rcode = ours.rcode
			return true
		}},
	{"RFC 2782: the addresses of a service come with it; NSD sends the least that it can, as it is told",
		func(q *asked, ours, theirs *replied) bool {
			if q.qtype != dns.TypeSRV || ours.answer == "" || ours.additional == "" || theirs.additional != "" {
				return false
			}
			theirs.additional = ours.additional
			return true
		}},
	{"of a class that is not known, too, the question is in the reply; NSD leaves it out",
		func(q *asked, ours, theirs *replied) bool {
			if q.kind != "another class" || theirs.question != "" {
				return false
			}
			theirs.question = ours.question
			return true
		}},
	{"RFC 6891 §6.1.1: who sends an OPT record gets one, with a header alone, too; NSD then sends none",
		func(_ *asked, ours, theirs *replied) bool {
			if ours.question != "" || ours.opt == "" || theirs.opt != "" || ours.rcode != theirs.rcode ||
				ours.rcode != dns.RcodeNotImplemented && ours.rcode != dns.RcodeFormatError {
				return false
			}
			theirs.opt = ours.opt
			return true
		}},
	{"of an opcode that is not known nothing but the header's identifier and RD are for sure; NSD keeps more bits",
		func(q *asked, ours, theirs *replied) bool {
			if q.kind != "opcode" || ours.rcode != dns.RcodeNotImplemented || theirs.rcode != dns.RcodeNotImplemented {
				return false
			}
			was := theirs.flags
			theirs.flags = strings.Replace(theirs.flags, "cd ", "", 1)
			return was != theirs.flags
		}},
}
