package lifecycle

// GateText parses a value of a gate's KV, and writes it again.
func GateText(text string) (string, bool) {
	state, ok := parseGateState(text)
	return state.String(), ok
}
