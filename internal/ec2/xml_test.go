package ec2

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func TestNode(t *testing.T) {
	n, err := decode(strings.NewReader(`<?xml version="1.0"?>
<DescribeXResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
  <requestId>1</requestId>
  <xSet><item><a>1</a><b><c>x &amp; y</c></b></item><item>text</item></xSet>
  <empty/><blank>  </blank>
  <twice>1</twice><twice>2</twice><twice><d>3</d></twice>
  <Errors><Error><Code>C</Code></Error></Errors>
</DescribeXResponse>`))
	if err != nil {
		t.Fatal(err)
	}
	if n.Str("requestId") != "1" || n.Items("xSet")[0].Str("b", "c") != "x & y" || n.Str("no", "such", "path") != "" || n.Get("xSet", "nothing") != nil || len(n.Items("nothing")) != 0 {
		t.Errorf("%+v", n)
	}
	js, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"requestId":"1","xSet":[{"a":"1","b":{"c":"x \u0026 y"}},"text"],"empty":null,"blank":null,"twice":["1","2",{"d":"3"}],"Errors":[{"Code":"C"}]}`
	if string(js) != want {
		t.Errorf("JSON\n%s\nwant\n%s", js, want)
	}
	text, err := yaml.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	wantYAML := `requestId: "1"
xSet:
- a: "1"
  b:
    c: x & y
- text
empty: null
blank: null
twice:
- "1"
- "2"
- d: "3"
Errors:
- Code: C
`
	if string(text) != wantYAML {
		t.Errorf("YAML\n%s\nwant\n%s", text, wantYAML)
	}
	var nothing *Node
	if nothing.Str("a") != "" || nothing.Get("a") != nil || nothing.Items("a") != nil {
		t.Error("a nil element has something")
	}
}

// FuzzDecode: no reply makes it crash, and what was read can be printed.
func FuzzDecode(f *testing.F) {
	f.Add("<a><b>c</b><item/></a>")
	f.Add("<Response><Errors><Error><Code>x</Code></Error></Errors><RequestID>1</RequestID></Response>")
	f.Add("<a/><b/>")
	f.Add("<a>\x00</a>")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := decode(strings.NewReader(s))
		if err != nil {
			return
		}
		js, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(js) {
			t.Fatalf("%s", js)
		}
		text, err := yaml.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := yaml.Unmarshal(text, &v); err != nil {
			t.Fatalf("%v: %q", err, text)
		}
	})
}

// A text in many pieces costs as much as one in one piece: a reply within its
// bound ends, and does not keep a hook busy until its time is over.
func TestTextInPieces(t *testing.T) {
	const pieces = 100_000
	text := "<a>" + strings.Repeat("x<!---->", pieces) + "</a>"
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, err := decode(strings.NewReader(text))
	runtime.ReadMemStats(&after)
	if err != nil || len(n.Text) != pieces {
		t.Fatal(err)
	}
	// Copied once for each piece it would be 5 GB.
	if got := after.TotalAlloc - before.TotalAlloc; got > 256<<20 {
		t.Errorf("%d octets were allocated for %d", got, len(text))
	}
}
