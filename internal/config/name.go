package config

import (
	"strings"

	"murakumo/internal/catalog"
)

// readName gives a host name or an alias as the table holds it: in lower case
// and without domain.
func readName(text, domain string) (string, error) {
	name := catalog.LowerName(strings.TrimSpace(text))
	if domain != "" {
		name = strings.TrimSuffix(strings.TrimSuffix(name, "."+domain+"."), "."+domain)
	}
	if err := catalog.ValidName(name); err != nil {
		return "", err
	}
	return name, nil
}

// nearest gives the word that text was most likely meant to be, "" when none is
// near.
func nearest(text string, words []string) string {
	best, word := len(text)/3+1, ""
	if len(text) < 3 || len(text) > 64 {
		return ""
	}
	text = strings.ToLower(text)
	for _, w := range words {
		if d := distance(text, w, best); d < best {
			best, word = d, w
		}
	}
	return word
}

// distance counts the letters to insert, delete, replace or swap with their
// neighbour to make a into b; limit and more are all the same.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	// rows[i%3][j] is the distance of a[:i] and b[:j].
	var rows [3][]int
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		row, up, upup := rows[i%3], rows[(i+2)%3], rows[(i+1)%3]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := up[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(up[j]+1, row[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], upup[j-2]+1)
			}
		}
	}
	return rows[len(a)%3][len(b)]
}

// meant gives `, did you mean "word"?` or nothing.
func meant(text string, words []string) string {
	if w := nearest(text, words); w != "" {
		return `, did you mean "` + w + `"?`
	}
	return ""
}
