package gossip

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/hashicorp/memberlist"
)

// Salt and info of the key derivation. They are part of the protocol: nodes
// that differ here do not understand each other.
const (
	keySalt = "murakumo gossip"
	keyInfo = "packets and streams, AES-256-GCM"
)

// keyring derives one AES-256 key from each auth-key text, which may have any
// length; the first encrypts, all decrypt. HKDF spreads what the text holds of
// chance over the key, it does not add any: a short word stays guessable.
func keyring(texts []string) (*memberlist.Keyring, error) {
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
	return memberlist.NewKeyring(keys, keys[0])
}
