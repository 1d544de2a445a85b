# Prints a line for each argument behind the server's address, its certificate and the name
# in that: "TRANSPORT TYPE NAME = RCODE DATA…" for each transport, by dnspython. The owner of
# an answer has to have each octet of the question.
import ssl
import sys

import dns.message
import dns.query
import dns.rcode

server, cert, host = sys.argv[1:4]
context = ssl.create_default_context(cafile=cert)


def tls(query, where, timeout):
    return dns.query.tls(query, where, timeout=timeout, ssl_context=context, server_hostname=host)


for arg in sys.argv[4:]:
    kind, name = arg.split(":", 1)
    for transport, ask in ("udp", dns.query.udp), ("tcp", dns.query.tcp), ("tls", tls):
        query = dns.message.make_query(name, kind, use_edns=0)
        reply = ask(query, server, timeout=20)
        asked = query.question[0].name.labels
        if reply.question[0].name.labels != asked:
            sys.exit(f"{arg}: the question came back as {reply.question[0].name.labels}")
        words = []
        for rrset in reply.answer:
            if rrset.name.labels != asked:
                sys.exit(f"{arg}: an answer of {rrset.name.labels}")
            words += [dns.rdatatype.to_text(rrset.rdtype) + " " + r.to_text() for r in rrset]
        print(transport, kind, name, "=", ", ".join([dns.rcode.to_text(reply.rcode())] + sorted(words)))
