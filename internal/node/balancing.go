package node

import (
	"slices"
	"strings"

	"murakumo/internal/config"
	"murakumo/internal/nameserver"
)

// whenEmpty makes the rules of names without an Active record.
func whenEmpty(policies []config.WhenEmpty) []nameserver.WhenEmpty {
	answers := map[config.Emptiness]nameserver.Emptiness{
		config.NoData: nameserver.NoData, config.LastGood: nameserver.LastGood, config.FailOpen: nameserver.FailOpen,
	}
	var rules []nameserver.WhenEmpty
	for _, p := range policies {
		rules = append(rules, nameserver.WhenEmpty{Match: p.Destination.MatchString, Answer: answers[p.Answer]})
	}
	return rules
}

// balanced makes the rules of balancing. When they are the same as before it
// gives what there is, which knows what it has told already.
func (n *Node) balanced(balances []config.Balance) *nameserver.Balancing {
	same := func(a, b config.Balance) bool {
		return a.Destination.String() == b.Destination.String() && a.Algorithm == b.Algorithm &&
			a.MaxIPNum == b.MaxIPNum && slices.Equal(a.Sources, b.Sources)
	}
	if n.balancing != nil && slices.EqualFunc(n.balances, balances, same) {
		return n.balancing
	}
	var rules []nameserver.Balance
	for _, b := range balances {
		rules = append(rules, nameserver.Balance{
			Match: b.Destination.MatchString, Label: strings.TrimPrefix(b.Destination.String(), "(?i)"),
			Algorithm: b.Algorithm, MaxAnswers: b.MaxIPNum, Sources: b.Sources,
		})
	}
	n.balancing, n.balances = nameserver.NewBalancing(rules), balances
	return n.balancing
}
