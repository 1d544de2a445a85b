package expr

// Script is a parsed health-check expression.
type Script struct{}
