# Prints a line for each argument behind the server's address, as resolve.c does:
# TYPE:NAME by dnspython, which checks each reply octet by octet against its question.
import sys

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.resolver
import dns.reversename

server = sys.argv[1]
resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers = [server]
resolver.lifetime = 20


def line(arg, get):
    try:
        print(arg, "=", *sorted(get()))
    except dns.resolver.NXDOMAIN:
        print(arg, "! none")
    except dns.resolver.NoAnswer:
        print(arg, "! nodata")
    except dns.resolver.NoNameservers as e:
        print(arg, "!", str(e).split()[-1].rstrip("."))


def words(answer):
    return [r.to_text().replace(" ", "_") for r in answer]


for arg in sys.argv[2:]:
    kind, name = arg.split(":", 1)
    if kind == "PTR":
        line(arg, lambda: words(resolver.resolve(dns.reversename.from_address(name), "PTR")))
    else:
        line(arg, lambda: words(resolver.resolve(name, kind)))

# What a message can be told to be like.
name = "web.corp.example."


def exchange(what, query, ask=dns.query.udp):
    reply = ask(query, server, timeout=20)
    query.is_response(reply) or sys.exit("no reply to " + what)
    options = sorted(int(o.otype) for o in reply.options)
    print(what, "=", dns.rcode.to_text(reply.rcode()), len(reply.answer[0]) if reply.answer else 0, "edns", reply.edns, "options", *options)


exchange("plain", dns.message.make_query(name, "A"))
exchange("tcp", dns.message.make_query(name, "A"), dns.query.tcp)
exchange("do", dns.message.make_query(name, "A", want_dnssec=True))
later = dns.message.make_query(name, "A")
later.use_edns(edns=1)
exchange("edns1", later)
exchange("nsid", dns.message.make_query(name, "A", use_edns=0, options=[dns.edns.GenericOption(3, b"")]))
exchange("cookie", dns.message.make_query(name, "A", use_edns=0, options=[dns.edns.GenericOption(10, b"12345678")]))
exchange("subnet", dns.message.make_query(name, "A", use_edns=0, options=[dns.edns.ECSOption("192.0.2.0", 24)]))
exchange("padded", dns.message.make_query(name, "A", use_edns=0, pad=128))
exchange("asleep", dns.message.make_query("asleep.corp.example.", "A", use_edns=0))
reply, tcp = dns.query.udp_with_fallback(dns.message.make_query("many.corp.example.", "A"), server, timeout=20)
print("many =", len(reply.answer[0]), "tcp" if tcp else "udp")
