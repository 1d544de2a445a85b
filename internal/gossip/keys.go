package gossip

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/memberlist"
)

// Salt and info of the key derivation. They are part of the protocol: nodes
// that differ here do not understand each other.
const (
	keySalt = "murakumo gossip"
	keyInfo = "packets and streams, AES-256-GCM"
)

// keyring makes the ring of the auth-keys; the first encrypts, all decrypt.
func keyring(texts []string) (*memberlist.Keyring, error) {
	keys, err := deriveKeys(texts)
	if err != nil {
		return nil, err
	}
	return memberlist.NewKeyring(keys, keys[0])
}

// deriveKeys derives one AES-256 key from each auth-key text, which may have any
// length. HKDF spreads what the text holds of chance over the key, it does not
// add any: a short word stays guessable.
func deriveKeys(texts []string) ([][]byte, error) {
	if len(texts) == 0 {
		return nil, errors.New("gossip: no auth-key: without one anybody could join; set auth-key")
	}
	keys := make([][]byte, len(texts))
	for i, text := range texts {
		if text == "" {
			return nil, fmt.Errorf("gossip: auth-key %d of %d is empty; set it or take it out", i+1, len(texts))
		}
		var err error
		if keys[i], err = hkdf.Key(sha256.New, []byte(text), []byte(keySalt), keyInfo, 32); err != nil {
			return nil, fmt.Errorf("gossip: deriving a key from auth-key %d: %w", i+1, err)
		}
	}
	return keys, nil
}

// useKeys makes the ring hold these keys and no others, the first as the one that
// encrypts. None of them that was there before is missing at any moment.
//
// memberlist reads the ring's keys without its lock while RemoveKey closes the
// gap in the same slice. So the keys to be removed are brought behind all
// others, where there is no gap to close.
func useKeys(ring *memberlist.Keyring, keys [][]byte) error {
	wanted := func(k []byte) bool {
		return slices.ContainsFunc(keys, func(w []byte) bool { return bytes.Equal(w, k) })
	}
	var errs []error
	try := func(err error) { errs = append(errs, err) }
	try(ring.AddKey(keys[0]))
	try(ring.UseKey(keys[0]))
	for now := ring.GetKeys(); ; now = ring.GetKeys() {
		// [first, …, unwanted, …, wanted, …]: the last wanted one behind an
		// unwanted one encrypts for an instant, which puts it in front. It was
		// in the file before and is in it now, so others have it.
		last := len(now) - 1
		for last > 0 && !wanted(now[last]) {
			last--
		}
		if !slices.ContainsFunc(now[:last], func(k []byte) bool { return !wanted(k) }) {
			break
		}
		try(ring.UseKey(now[last]))
		try(ring.UseKey(keys[0]))
	}
	for now := ring.GetKeys(); !wanted(now[len(now)-1]); now = ring.GetKeys() {
		if err := ring.RemoveKey(now[len(now)-1]); err != nil {
			return err
		}
	}
	for _, k := range keys {
		try(ring.AddKey(k))
	}
	return errors.Join(errs...)
}
