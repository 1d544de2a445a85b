package ec2test

import (
	"encoding/xml"
	"net/http"
	"strings"
)

// An element of a reply.
type element struct {
	name string
	text string
	kids []element
}

// el makes an element with others inside, and tx one with text.
func el(name string, kids ...element) element { return element{name: name, kids: kids} }
func tx(name, text string) element            { return element{name: name, text: text} }

// when leaves an element out unless there is something to tell.
func when(there bool, e element) element {
	if !there {
		return element{}
	}
	return e
}

func (e element) write(b *strings.Builder) {
	if e.name == "" {
		return
	}
	if e.text == "" && len(e.kids) == 0 {
		b.WriteString("<" + e.name + "/>")
		return
	}
	b.WriteString("<" + e.name + ">")
	xml.EscapeText(b, []byte(e.text))
	for i, k := range e.kids {
		if i == 0 {
			b.WriteByte('\n')
		}
		k.write(b)
		b.WriteByte('\n')
	}
	b.WriteString("</" + e.name + ">")
}

// render gives a whole reply (API making-api-requests.html: an element named
// after the action, with the namespace of the API's version, requestId first).
func render(action string, answer []element, id string) string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	b.WriteString("<" + action + `Response xmlns="http://ec2.amazonaws.com/doc/` + apiVersion + `/">` + "\n")
	tx("requestId", id).write(&b)
	for _, e := range answer {
		b.WriteByte('\n')
		e.write(&b)
	}
	b.WriteString("\n</" + action + "Response>")
	return b.String()
}

// writeFailure answers with an error (API errors-overview.html, "Example error
// response": Response, Errors, Error, and RequestID beside).
func writeFailure(w http.ResponseWriter, f *failure, id string) {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	el("Response", el("Errors", el("Error", tx("Code", f.code), tx("Message", f.message))), tx("RequestID", id)).write(&b)
	w.WriteHeader(f.status)
	w.Write([]byte(b.String()))
}
