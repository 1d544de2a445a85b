package check

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"murakumo/internal/check/expr"
)

// dnsCheck asks a server for the addresses of a name and is good when there is
// one: of IPv4, or else of IPv6. It writes the question itself: a resolver would
// ask again and elsewhere, and hide what this server says.
func dnsCheck(c expr.Call) Probe {
	server := hostPort(c.Text("server"), c.Int("port"))
	name := strings.TrimSuffix(c.Text("name"), ".") + "."
	return func(ctx context.Context) error {
		for _, t := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} {
			there, err := resolves(ctx, server, name, t)
			if err != nil {
				return fmt.Errorf("dns %s: %s %s: %w", server, name, strings.TrimPrefix(t.String(), "Type"), err)
			}
			if there {
				return nil
			}
		}
		return fmt.Errorf("dns %s: %s has no address", server, name)
	}
}

// resolves asks by UDP, and once more by TCP when the answer did not fit.
func resolves(ctx context.Context, server, name string, t dnsmessage.Type) (there bool, err error) {
	q := dnsmessage.Question{Type: t, Class: dnsmessage.ClassINET}
	if q.Name, err = dnsmessage.NewName(name); err != nil {
		return false, err
	}
	id := uint16(rand.Uint32())
	// Two octets before it, which TCP wants to have.
	b := dnsmessage.NewBuilder(make([]byte, 2, 512), dnsmessage.Header{ID: id, RecursionDesired: true})
	if err := errors.Join(b.StartQuestions(), b.Question(q)); err != nil {
		return false, err
	}
	question, err := b.Finish()
	if err != nil {
		return false, err
	}
	binary.BigEndian.PutUint16(question, uint16(len(question)-2))
	for _, network := range []string{"udp", "tcp"} {
		answer, err := exchangeDNS(ctx, network, server, question)
		if err != nil {
			return false, err
		}
		there, truncated, err := readDNS(answer, id, q)
		if err != nil || !truncated {
			return there, err
		}
	}
	return false, errors.New("cut short by TCP, too")
}

// exchangeDNS sends a question with its length before it and gives the answer.
func exchangeDNS(ctx context.Context, network, server string, question []byte) ([]byte, error) {
	conn, err := dial(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer interrupt(ctx, conn)()
	answer := make([]byte, 64<<10)
	if network == "udp" {
		if _, err := conn.Write(question[2:]); err != nil {
			return nil, because(ctx, "sending the question", err)
		}
		n, err := conn.Read(answer)
		if err != nil {
			return nil, because(ctx, "waiting for an answer", err)
		}
		return answer[:n], nil
	}
	if _, err := conn.Write(question); err != nil {
		return nil, because(ctx, "sending the question by TCP", err)
	}
	n, err := readLength(conn)
	if err == nil {
		_, err = io.ReadFull(conn, answer[:n])
	}
	if err != nil {
		return nil, because(ctx, "waiting for an answer by TCP", err)
	}
	return answer[:n], nil
}

func readLength(conn net.Conn) (uint16, error) {
	var length [2]byte
	_, err := io.ReadFull(conn, length[:])
	return binary.BigEndian.Uint16(length[:]), err
}

var rcodes = map[dnsmessage.RCode]string{
	dnsmessage.RCodeFormatError: "FORMERR", dnsmessage.RCodeServerFailure: "SERVFAIL", dnsmessage.RCodeNameError: "NXDOMAIN",
	dnsmessage.RCodeNotImplemented: "NOTIMP", dnsmessage.RCodeRefused: "REFUSED",
}

// readDNS says whether an answer has a record of the type that was asked for.
func readDNS(answer []byte, id uint16, asked dnsmessage.Question) (there, truncated bool, err error) {
	var p dnsmessage.Parser
	h, err := p.Start(answer)
	if err != nil || !h.Response || h.ID != id {
		return false, false, fmt.Errorf("what came is no answer to the question: %s", excerpt(answer))
	}
	if h.RCode != dnsmessage.RCodeSuccess {
		code, known := rcodes[h.RCode]
		if !known {
			code = "response code " + strconv.Itoa(int(h.RCode))
		}
		return false, false, errors.New(code)
	}
	q, err := p.Question()
	if err != nil || q.Type != asked.Type || q.Class != asked.Class || !strings.EqualFold(q.Name.String(), asked.Name.String()) {
		return false, false, errors.New("what came answers another question")
	}
	if h.Truncated {
		return false, true, nil
	}
	if err := p.SkipAllQuestions(); err != nil {
		return false, false, fmt.Errorf("malformed answer: %w", err)
	}
	for {
		r, err := p.AnswerHeader()
		if err == dnsmessage.ErrSectionDone {
			return there, false, nil
		}
		there = there || err == nil && r.Type == asked.Type
		if err == nil {
			err = p.SkipAnswer()
		}
		if err != nil {
			return false, false, fmt.Errorf("malformed answer: %w", err)
		}
	}
}
