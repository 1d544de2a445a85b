package failover

// HealthState is what is known of one health check. The zero value is a check
// that has had no verdict.
type HealthState struct {
	Health Health
	// Against counts the verdicts in a row that contradict Health.
	Against int
	// Number is that of the last transition.
	Number uint64
}

// StepHealth takes one verdict. The effects carry Kind, Status, Previous,
// Reason and Number; the driver adds name and address.
func StepHealth(rule HealthRule, s HealthState, good bool) (HealthState, []Effect) {
	verdict := Unhealthy
	if good {
		verdict = Healthy
	}
	switch s.Health {
	case verdict:
		s.Against = 0
		return s, nil
	case HealthUnknown:
		// Nothing was published as healthy or unhealthy before, so nothing
		// changed that a hook or a mail could tell.
		s.Health, s.Against = verdict, 0
		return s, []Effect{{Initial: true, Transition: Transition{
			Kind: KindHealth, Status: verdict.String(), Previous: HealthUnknown.String(),
			Reason: ReasonStart, Number: s.Number,
		}}}
	}
	s.Against++
	need, reason := rule.Fall, ReasonFailover
	if good {
		need, reason = rule.Rise, ReasonReturn
	}
	if s.Against < need {
		return s, nil
	}
	previous := s.Health
	s.Health, s.Against = verdict, 0
	s.Number++
	return s, []Effect{{Transition: Transition{
		Kind: KindHealth, Status: verdict.String(), Previous: previous.String(),
		Reason: reason, Number: s.Number,
	}, Why: inARow(need, verdict.probes())}}
}

// probes names the verdicts that lead to h, for the line that says why.
func (h Health) probes() string {
	if h == Healthy {
		return "good probe"
	}
	return "bad probe"
}
