package gossip

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/memberlist"
	"pgregory.net/rapid"
)

func TestKeyring(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	ring, err := keyring([]string{"onion", "a", long})
	if err != nil {
		t.Fatal(err)
	}
	keys := ring.GetKeys()
	if len(keys) != 3 {
		t.Fatalf("%d keys, want 3", len(keys))
	}
	for i, k := range keys {
		if len(k) != 32 {
			t.Errorf("key %d has %d octets, want 32", i, len(k))
		}
	}
	// The derivation is part of the protocol: this value must never change.
	const onion = "9d42c1c2c7d38d2ce371c778094e99305ae83e7d9dc007c3b8bd74606e88d9ce"
	if got := hex.EncodeToString(ring.GetPrimaryKey()); got != onion {
		t.Errorf("the key of %q is %s, want %s", "onion", got, onion)
	}
	other, err := keyring([]string{"onion2"})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(other.GetPrimaryKey(), ring.GetPrimaryKey()) {
		t.Error("two texts have one key")
	}
}

func TestKeyringRefuses(t *testing.T) {
	for _, texts := range [][]string{nil, {""}, {"onion", ""}} {
		if _, err := keyring(texts); err == nil || !strings.Contains(err.Error(), "auth-key") {
			t.Errorf("keyring(%q): %v", texts, err)
		}
	}
}

// TestUseKeys: from any list to any other, the ring ends as the list says, and
// neither a key that is in both nor the whole ring is ever missing to a reader.
// The race detector sees whether readers and the change touch the same slice.
func TestUseKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfNDistinct(rapid.SampledFrom(strings.Split("a b c d e", " ")), 1, 5, rapid.ID[string])
		before, after := texts.Draw(t, "before"), texts.Draw(t, "after")
		ring, err := keyring(before)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := deriveKeys(after)
		if err != nil {
			t.Fatal(err)
		}
		was := slices.Clone(ring.GetKeys())
		var stay [][]byte
		for _, k := range was {
			if slices.ContainsFunc(keys, func(n []byte) bool { return bytes.Equal(n, k) }) {
				stay = append(stay, k)
			}
		}
		stop, ended := make(chan struct{}), make(chan string, 1)
		go func() {
			missing := ""
			for {
				seen := map[string]bool{}
				for _, k := range ring.GetKeys() {
					seen[string(k)] = true
				}
				for i, k := range stay {
					if !seen[string(k)] {
						missing = fmt.Sprintf("key %d of those that stay", i)
					}
				}
				select {
				case <-stop:
					ended <- missing
					return
				default:
				}
			}
		}()
		err = useKeys(ring, keys)
		close(stop)
		if missing := <-ended; missing != "" || err != nil {
			t.Fatalf("from %v to %v: %s was missing, %v", before, after, missing, err)
		}
		now := ring.GetKeys()
		if len(now) != len(keys) || !bytes.Equal(now[0], keys[0]) {
			t.Fatalf("from %v to %v: %d keys, want %d, the first %x, want %x", before, after, len(now), len(keys), now[0], keys[0])
		}
		for _, k := range keys {
			if !slices.ContainsFunc(now, func(n []byte) bool { return bytes.Equal(n, k) }) {
				t.Fatalf("from %v to %v: a key is missing", before, after)
			}
		}
	})
}

// TestUseKeysEncrypts: the step of a rotation that adds a key never encrypts by
// it, which others may not have yet; nor does any step by one that is taken out.
func TestUseKeysEncrypts(t *testing.T) {
	for _, c := range []struct{ before, after, never []string }{
		{[]string{"old"}, []string{"old", "new"}, []string{"new"}},
		{[]string{"old", "new"}, []string{"new", "old"}, nil},
		{[]string{"new", "old"}, []string{"new"}, []string{"old"}},
		{[]string{"a", "x", "b"}, []string{"a", "b", "new"}, []string{"x", "new"}},
	} {
		keys, err := deriveKeys(c.after)
		if err != nil {
			t.Fatal(err)
		}
		never, err := deriveKeys(append([]string{"nobody's"}, c.never...))
		if err != nil {
			t.Fatal(err)
		}
		var ring atomic.Pointer[memberlist.Keyring]
		stop, ended := make(chan struct{}), make(chan bool, 1)
		go func() {
			wrong := false
			for {
				if r := ring.Load(); r != nil {
					p := r.GetPrimaryKey()
					wrong = wrong || slices.ContainsFunc(never, func(n []byte) bool { return bytes.Equal(n, p) })
				}
				select {
				case <-stop:
					ended <- wrong
					return
				default:
				}
			}
		}()
		for range 200 {
			r, err := keyring(c.before)
			if err != nil {
				t.Fatal(err)
			}
			ring.Store(r)
			if err := useKeys(r, keys); err != nil {
				t.Fatal(err)
			}
		}
		close(stop)
		if <-ended {
			t.Errorf("from %v to %v: encrypted by one of %v", c.before, c.after, c.never)
		}
	}
}
