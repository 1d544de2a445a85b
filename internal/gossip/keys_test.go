package gossip

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
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
